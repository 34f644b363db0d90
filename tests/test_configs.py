"""The files under configs/ say what the papers print, and each of them trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import micgraph
from micgraph.config import parse, read_yaml
from micgraph.graph.build_config import BuildConfig
from micgraph.presets import DATA_SECTIONS, RunConfig, resolve

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
N_ITEMS = 1_000_000

MICREC: dict[str, Any] = {
    "model.encoder": "ican",
    "model.history": 20,
    "model.field_dim": 64,
    "model.dim": 64,
    "model.item_hidden": (128, 64),
    "model.options": {"hidden": [128, 64], "heads": 8},
    "model.similarity": "dot",
    "model.temperature": 1.0,
    "tasks.matching.weight": 1.0,
    "tasks.matching.loss": "softmax",
    "tasks.matching.negatives": "uniform",
    "tasks.fea.weight": 1.0,
    "tasks.fea.mask_ratio": 0.5,
    "tasks.sess.weight": 0.1,
    **{f"tasks.{task}.negatives": 50 for task in ("fea", "sem", "sess")},
    **{f"tasks.{task}.tau": 1.0 for task in ("fea", "sem", "sess")},
    "sampling.samples": "clicks",
    "sampling.batch_size": 4096,
    "training.lr": 1e-3,
    "training.weight_decay": 0.0,
    "fusion.k1": 500,
    "build.session_gap": "1h",
    "build.session_span": "1h",
}
PRINTED: dict[str, dict[str, Any]] = {
    "micrec_video": {**MICREC, "tasks.sem.weight": 0.3},
    "micrec_news": {**MICREC, "tasks.sem.weight": 0.1},
    "mic": {
        "model.encoder": "mic_dnn",
        "model.dim": 128,
        "model.user_fields": None,
        "model.similarity": "cosine",
        "model.temperature": 0.1,
        "model.shared_space": True,
        "tasks.matching.weight": 0.7,
        **{f"tasks.{task}.weight": 0.3 for task in ("ui", "uu", "ii")},
        **{f"tasks.{task}.tau": 0.1 for task in ("ui", "uu", "ii")},
        "sampling.batch_size": 1024,
        "perturb.dropout": 0.2,
        "training.lr": 1e-3,
        "training.weight_decay": 0.0,
        "fusion.fusion": "mic",
        "fusion.basic": "cosine",
        "fusion.lambda_mic": 0.5,
        "fusion.lambda_div": 0.2,
        "fusion.m1": 40,
        "fusion.m2": 60,
        "fusion.m": 30,
        "fusion.m3": 50,
        "fusion.k1": 200,
    },
}
NAMES = {"mic": "mic_dnn+mic", "micrec_video": "ican+micrec", "micrec_news": "ican+micrec"}


def _path(name: str) -> Path:
    return CONFIGS / f"{name}.yaml"


def _value(run: RunConfig, build: BuildConfig, place: str) -> Any:
    section, *rest = place.split(".")
    if section == "tasks":
        return getattr(run.task_config(rest[0]), rest[1])
    return getattr(build if section == "build" else getattr(run, section), rest[0])


def _leaves(values: dict[str, Any], depth: int) -> dict[str, Any]:
    """Dotted name -> value, down to the settings: one level below a section, two below ``tasks``."""
    found = {}
    for name, value in values.items():
        below = isinstance(value, dict) and depth > 0
        found |= {f"{name}.{k}": v for k, v in _leaves(value, depth - 1).items()} if below else {name: value}
    return found


def _written(name: str) -> set[str]:
    values = read_yaml(_path(name))
    return {
        f"{section}.{place}"
        for section, settings in values.items()
        for place in _leaves(settings, 1 if section == "tasks" else 0)
    }


def test_every_config_is_tested() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {*PRINTED, "ml1m_best"}


def test_the_best_row_resolves() -> None:
    run = resolve(None, _path("ml1m_best"), 3_415)
    assert run.name == "gru4rec" and run.task_config("matching").spare_clicked and run.model.time_gaps
    assert run.fusion.fusion == "learned" and run.fusion.neighbors == "follows"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("tuned/*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("tasks", ["", "+micrec", "+mic"])
def test_a_tuned_base_resolves_with_any_tasks(path: Path, tasks: str) -> None:
    given = read_yaml(path)
    run = resolve(given["model"]["encoder"] + tasks, path, 10_000)
    assert path.stem.endswith(run.model.encoder)
    assert run.training.epochs == given["training"]["epochs"]


@pytest.mark.parametrize("name", PRINTED)
def test_a_config_resolves_to_the_printed_settings(name: str) -> None:
    run = resolve(None, _path(name), N_ITEMS)
    build = parse(BuildConfig, read_yaml(_path(name)).get("build", {}))
    assert run.name == NAMES[name]
    assert {place: _value(run, build, place) for place in PRINTED[name]} == PRINTED[name]


@pytest.mark.parametrize("name", PRINTED)
def test_a_config_says_nothing_that_is_not_compared(name: str) -> None:
    assert _written(name) == set(PRINTED[name])
    assert set(read_yaml(_path(name))) - {"model", "tasks", "sampling", "perturb", "training", "fusion"} <= set(
        DATA_SECTIONS
    )


@pytest.mark.parametrize("name", PRINTED)
def test_every_value_names_its_source(name: str) -> None:
    paper = "MIC " if name == "mic" else "MicRec "
    for line in _path(name).read_text(encoding="utf-8").splitlines():
        value = line.split("#")[0].partition(":")[2].strip()
        assert not value or paper in line or "[D " in line or line.startswith("  encoder"), line


@pytest.mark.parametrize("name", PRINTED)
def test_a_config_trains_on_a_small_graph(name: str, tiny_log: Any, tmp_path: Path) -> None:
    log = micgraph.read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users)
    graph = micgraph.build(log, parse(BuildConfig, read_yaml(_path(name)).get("build", {})))
    settings = {**read_yaml(_path(name))}
    settings["training"] = {**settings["training"], "epochs": 1}
    run = micgraph.train(graph, None, config=settings, out=tmp_path / "run", device="cpu", progress=False)
    assert run.name == NAMES[name]
    (row,) = run.metrics
    parts = {f"loss/{task}" for task in run.config.tasks}
    assert parts <= set(row)
    assert all(row[part] > 0 and row[part] < float("inf") for part in parts)
