"""Runs on disk: what train writes, load_run reads back; what does not fit is refused and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.split import split
from micgraph.pipeline import train
from micgraph.run import Run, load_run
from micgraph.schema import ArtifactError, ConfigError

SMALL = {"model": {"dim": 16, "history": 10}, "sampling": {"batch_size": 64}, "training": {"epochs": 2}}


@pytest.fixture
def graph(tiny_log) -> RecGraph:
    return build(read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users))


def quick(graph: RecGraph, out: Path | None, model: str = "gru4rec", **more) -> Run:
    config = {**SMALL, **more.pop("config", {})}
    return train(graph, model, config=config, out=out, device="cpu", progress=False, **more)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def vectors(run: Run) -> list[torch.Tensor]:
    items = torch.tensor([[3, 5, 9], [0, -1, -1], [-1, -1, -1]])
    queries = run.model.encode_queries(
        items, torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]]) > 0, torch.tensor([0, 7, -1])
    )
    return [*run.model.item_vectors(), *queries]


@pytest.mark.parametrize("model", ["gru4rec+mic", "ican+micrec", "youtube_dnn+fea+ii", "mic_dnn"])
def test_a_saved_run_loads_with_equal_vectors(graph: RecGraph, tmp_path: Path, model: str) -> None:
    run = quick(graph, tmp_path / "run", model)
    again = load_run(tmp_path / "run")
    assert again.config == run.config and again.name == run.name
    assert all(torch.equal(a, b) for a, b in zip(vectors(run), vectors(again), strict=True))
    assert again.metrics == run.metrics and [row["epoch"] for row in run.metrics] == [1, 2]
    assert again.graph.n_items == graph.n_items and again.graph.items.values.equals(graph.items.values)


def test_the_seed_decides_the_weights(graph: RecGraph, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> torch.Tensor:
        run = quick(graph, tmp_path / name, config={"training": {"epochs": 1, "seed": seed}})
        return run.model.item_vectors()[0]

    assert torch.equal(weights("a", 0), weights("b", 0)) and not torch.equal(weights("c", 1), weights("d", 0))


def test_validation_selects_and_reports_on_a_small_catalogue(tiny_log, tmp_path: Path) -> None:
    parts = split(read_log(tiny_log.clicks), "temporal", test="2d")
    run = quick(build(parts.train), tmp_path / "run", validation=parts.valid)
    assert all("valid/recall@20" in row and 0 <= row["valid/recall@50"] <= 1 for row in run.metrics)


def test_other_settings_in_the_same_directory_are_refused_and_change_nothing(graph: RecGraph, tmp_path: Path) -> None:
    quick(graph, tmp_path / "run")
    before = listing(tmp_path)
    for model, config in (("gru4rec", {"training": {"epochs": 3}}), ("gru4rec+sess", {}), ("mic_dnn", {})):
        with pytest.raises(ConfigError, match="same settings"):
            quick(graph, tmp_path / "run", model, config=config)
        assert listing(tmp_path) == before


def test_another_graph_in_the_same_directory_is_refused_and_changes_nothing(
    graph: RecGraph, tiny_log, tmp_path: Path
) -> None:
    quick(graph, tmp_path / "run")
    before = listing(tmp_path)
    fewer = build(read_log(tiny_log.clicks.iloc[:-5], items=tiny_log.items, users=tiny_log.users))
    with pytest.raises(ConfigError, match="graph"):
        quick(fewer, tmp_path / "run")
    assert listing(tmp_path) == before


def test_the_same_settings_go_on_or_return_at_once(graph: RecGraph, tmp_path: Path) -> None:
    first = quick(graph, tmp_path / "run")
    before = listing(tmp_path)
    again = quick(graph, tmp_path / "run")
    assert listing(tmp_path) == before
    assert all(torch.equal(a, b) for a, b in zip(vectors(first), vectors(again), strict=True))


@pytest.mark.parametrize("part", ["setup", "best", "graph"])
def test_a_damaged_run_is_refused(graph: RecGraph, tmp_path: Path, part: str) -> None:
    quick(graph, tmp_path / "run")
    for file in (tmp_path / "run" / part).glob("*/*"):
        if file.name != "manifest.json":
            file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ArtifactError):
        load_run(tmp_path / "run")


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError):
        load_run(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("model", "config", "named"),
    [
        ("gru5rec", {}, "gru4rec"),
        ("gru4rec+fae", {}, "fae"),
        ("gru4rec", {"training": {"epoch": 3}}, "epochs"),
        ("mic_dnn", {"sampling": {"samples": "positions"}}, "every|whole"),
        ("gru4rec+sem", {}, "similar"),
        ("ican", {"model": {"options": {"tokens": "words"}}}, "tokens"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path: Path, model: str, config: dict, named: str
) -> None:
    log = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [1, 2, 2, 3], "timestamp": [10**9 + i for i in range(4)]})
    with pytest.raises(ConfigError, match=named):
        train(build(read_log(log)), model, config=config, out=tmp_path / "run", device="cpu", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("tasks", [{"fea": {"weight": 0.5}, "sess": None}, {"micrec": {}}])
def test_tasks_may_come_from_the_config_alone(graph: RecGraph, tmp_path: Path, tasks: dict) -> None:
    config = {**SMALL, "model": {"encoder": "mic_dnn", "dim": 16}, "training": {"epochs": 1}, "tasks": tasks}
    run = train(graph, None, config=config, device="cpu", progress=False)
    assert set(run.config.tasks) == {"matching", "fea", "sess"} | ({"sem"} if "micrec" in tasks else set())
