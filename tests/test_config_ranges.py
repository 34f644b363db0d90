"""Settings out of range, one row each: refused by name when a run is configured, or at the latest before any of it is
written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from functools import reduce
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from micgraph.graph.build_config import BuildConfig
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.split import split
from micgraph.pipeline import VALIDATION_KS, VALIDATION_METRICS, train
from micgraph.presets import RunConfig, resolve
from micgraph.schema import ConfigError
from micgraph.tasks.registry import TASKS

MODEL = "gru4rec+micrec+mic+rfm"
SMALL = {"model": {"dim": 8, "history": 8}, "training": {"epochs": 1}}
AT_LEAST_1, AT_LEAST_0, ABOVE_0, SHARE = "at least 1", "at least 0", "above 0", "at least 0 and below 1"
INDEXES = ("item_index", "user_index")
OF_SEARCHES = ("nprobe", "ef_construction", "ef_search", "refine", "threads")

# setting, what it must be, values that are not, values at the edge that are
RANGES: list[tuple[str, str, list[Any], list[Any]]] = [
    ("training.epochs", AT_LEAST_1, [0, -3], [1]),
    ("training.lr", ABOVE_0, [0.0, -0.1, math.nan, math.inf], [1e-9]),
    ("training.weight_decay", AT_LEAST_0, [-0.1], [0.0]),
    ("training.clip", AT_LEAST_0, [-1.0], [0.0]),
    ("training.patience", AT_LEAST_1, [0], [1]),
    ("training.validate_every", AT_LEAST_1, [0], [1]),
    ("training.checkpoint_every", AT_LEAST_0, [-1], [0]),
    ("training.micro_batch", AT_LEAST_0, [-1], [0, 64]),
    ("training.sparse_rows", AT_LEAST_0, [-1], [0]),
    ("sampling.batch_size", AT_LEAST_1, [0], [1]),
    ("sampling.min_history", AT_LEAST_0, [-1], [0]),
    ("sampling.max_anchors", AT_LEAST_1, [0], [1]),
    ("sampling.anchors_per_query", AT_LEAST_1, [0], [1]),
    ("sampling.same_category_boost", ABOVE_0, [0.0, -1.0], [0.5]),
    ("sampling.beta", AT_LEAST_0, [-0.5], [0.0, 1.0]),
    ("sampling.untimed", "at least 0 and at most 1", [-0.1, 1.1], [0.0, 1.0]),
    ("model.dim", AT_LEAST_1, [0], [1]),
    ("model.field_dim", AT_LEAST_1, [0], [1, None]),
    ("model.item_hidden", AT_LEAST_1, [(64, 0)], [(64, 1), ()]),
    ("model.history", AT_LEAST_1, [0], [1]),
    ("model.latest_users", AT_LEAST_0, [-1], [0, 1]),
    ("model.temperature", ABOVE_0, [0.0, -1.0], [1e-3]),
    ("model.dropout", SHARE, [1.0, -0.1, math.nan], [0.0, 0.9]),
    ("perturb.mask_rate", "at least 0 and at most 1", [1.5, -0.1], [0.0, 1.0]),
    ("perturb.dropout", SHARE, [1.0, -0.1], [0.0]),
    ("tasks.matching.weight", AT_LEAST_0, [-0.7], [0.0]),
    ("tasks.matching.count", AT_LEAST_1, [0], [1]),
    ("tasks.matching.window", AT_LEAST_1, [0], [1]),
    ("tasks.matching.window_weight", "at least 0 and at most 1", [1.5, -0.1], [0.0, 1.0]),
    ("tasks.fea.weight", AT_LEAST_0, [-1.0], [0.0]),
    ("tasks.fea.mask_ratio", SHARE, [1.0, -0.5], [0.0]),
    ("tasks.fea.negatives", AT_LEAST_1, [0], [1]),
    ("tasks.fea.tau", ABOVE_0, [0.0], [0.01]),
    ("tasks.rfm.weight", AT_LEAST_0, [-1.0], [0.0]),
    ("tasks.rfm.tau", ABOVE_0, [0.0], [0.01]),
    ("tasks.sem.weight", AT_LEAST_0, [-1.0], [0.0]),
    ("tasks.sem.negatives", AT_LEAST_1, [0], [1]),
    ("tasks.sess.tau", ABOVE_0, [0.0], [0.01]),
    ("tasks.ui.weight", AT_LEAST_0, [-0.3], [0.0]),
    ("tasks.ui.tau", ABOVE_0, [0.0], [0.01]),
    ("tasks.uu.weight", AT_LEAST_0, [-0.3], [0.0]),
    ("tasks.uu.tau", ABOVE_0, [0.0, -0.1], [0.01]),
    *((f"fusion.{name}", AT_LEAST_1, [0], [1]) for name in ("k1", "m1", "m2", "m", "m3", "follow_window")),
    ("fusion.decay", "above 0 and at most 1", [0.0, 1.5], [0.1, 1.0]),
    ("fusion.rrf_constant", AT_LEAST_0, [-1.0, math.inf], [0.0, 60.0]),
    *((f"fusion.{name}", AT_LEAST_1, [0], [1, None]) for name in ("k2", "k3")),
    *((f"fusion.{index}.{name}", AT_LEAST_1, [0], [1]) for index in INDEXES for name in OF_SEARCHES),
    *((f"fusion.{index}.{name}", AT_LEAST_1, [0], [1, None]) for index in INDEXES for name in ("nlist", "pq_m")),
    *((f"fusion.{index}.hnsw_m", "at least 2", [1], [2]) for index in INDEXES),
]
NOT_FINITE = (math.inf, math.nan)
UNBOUNDED = {"training.seed", "fusion.lambda_mic", "fusion.lambda_div"}


def _nested(place: str, value: Any) -> dict[str, Any]:
    for name in reversed(place.split(".")):
        value = {name: value}
    return value  # type: ignore[no-any-return]


def _value(run: RunConfig, place: str) -> Any:
    section, *middle, name = place.split(".")
    if section == "tasks":
        return getattr(run.task_config(middle[0]), name)
    return reduce(getattr, [*middle, name], getattr(run, section))


def _numbers(kind: type) -> Iterator[str]:
    hints = get_type_hints(kind)
    return (field.name for field in fields(kind) if hints[field.name] in (int, float, int | None, float | None))


def test_every_number_has_a_row() -> None:
    run, covered = resolve(MODEL, None, 48), {place for place, *_ in RANGES} | UNBOUNDED
    for section in ("training", "sampling", "model", "perturb", "fusion"):
        assert {f"{section}.{name}" for name in _numbers(type(getattr(run, section)))} <= covered
    indexes = {f"fusion.{index}.{name}" for index in INDEXES for name in _numbers(type(getattr(run.fusion, index)))}
    assert indexes <= covered
    rows = {(TASKS[p.split(".")[1]].config, p.split(".")[2]) for p in covered if p.startswith("tasks.")}
    assert {(task.config, name) for task in TASKS.values() for name in _numbers(task.config)} <= rows


@pytest.mark.parametrize(("place", "expected", "value"), [(p, text, v) for p, text, bad, _ in RANGES for v in bad])
def test_a_value_out_of_range_is_refused_by_name(place: str, expected: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(MODEL, _nested(place, value), 48)
    assert caught.value.argument == place
    assert caught.value.expected == (expected if value not in NOT_FINITE else f"finite and {expected}")
    assert repr(caught.value.got) == repr(value)


@pytest.mark.parametrize(("place", "value"), [(place, v) for place, _, _, good in RANGES for v in good])
def test_a_value_at_the_edge_is_taken(place: str, value: Any) -> None:
    assert _value(resolve(MODEL, _nested(place, value), 48), place) == value


@pytest.mark.parametrize(
    ("place", "settings"),
    [
        ("tasks.matching.negatives", {"negatives": "full", "loss": "logistic"}),
        ("tasks.matching.negatives", {"negatives": "full", "literal": True}),
        ("tasks.uu.literal", {"literal": True, "views": 2}),
    ],
)
def test_settings_that_exclude_each_other_are_refused(place: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(MODEL, {"tasks": {place.split(".")[1]: settings}}, 48)
    assert caught.value.argument == place


@pytest.mark.parametrize(
    ("model", "place", "value", "shown"),
    [
        ("gru4rec", "model.options.layers", 0, "at least 1"),
        ("gru4rec", "model.options.layers", "two", "a number at least 1"),
        ("gru4rec", "model.options.heads", 2, "arguments of gru4rec"),
        ("youtube_dnn", "model.options.hidden", [8, 0], "at least 1"),
        ("mic_dnn", "model.options.hidden", 8, "arguments of mic_dnn"),
        ("ican", "model.options.heads", 0, "at least 1"),
        ("ican", "model.options.heads", 3, "a divisor of the tokens' width 8"),
        ("ican", "model.options.tokens", "words", "'fields' or 'items'"),
        ("gru4rec", "training.monitor", "recall@51", "did you mean 'recall@50'?"),
        ("gru4rec", "training.monitor", "loss", "leave it out"),
        ("gru4rec", "training.monitor", "diversity@20", "'coverage@20'"),
    ],
)
def test_what_the_encoder_or_validation_refuses_leaves_no_run(
    tiny_log: Any, tmp_path: Path, model: str, place: str, value: Any, shown: str
) -> None:
    config = {**SMALL, **_nested(place, value)}
    config["model"] = {**SMALL["model"], **config["model"]}
    with pytest.raises(ConfigError) as caught:
        train(build(read_log(tiny_log.clicks)), model, config=config, out=tmp_path / "run", progress=False)
    assert place.startswith(caught.value.argument)
    assert shown in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_validation_gives_every_monitor_even_where_lists_are_longer_than_the_catalogue(tiny_log: Any) -> None:
    parts = split(read_log(tiny_log.clicks), "temporal", test="2d")
    graph = build(parts.train)
    assert graph.n_items < max(VALIDATION_KS)
    config = {**SMALL, "training": {"epochs": 1, "monitor": "ndcg@200"}}
    run = train(graph, "mic_dnn", parts.valid, config, device="cpu", progress=False)
    assert {f"valid/{metric}@{k}" for metric in VALIDATION_METRICS for k in VALIDATION_KS} <= set(run.metrics[0])


@pytest.mark.parametrize("settings", [{"semantic_k": 0}, {"co_occurs_top_k": -1}])
def test_building_refuses_counts_below_one(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1") as caught:
        BuildConfig(**settings)  # type: ignore[arg-type]
    assert caught.value.argument in settings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"semantic_k": "10"}, "a number at least 1"),
        ({"semantic_k": 2.5}, "an integer"),
        ({"semantic_k": True}, "an integer"),
        ({"semantic_k": None}, "an integer"),
        ({"co_occurs_top_k": [5, "6"]}, "a number at least 1"),
        ({"co_occurs_top_k": [5]}, "an integer"),
        ({"semantic": 3}, "'auto' or a list"),
        ({"semantic": [["title"]]}, "'auto' or a list"),
        ({"semantic": {"titel": 1.0}}, "a mapping of them"),
        ({"semantic": {"title": 0.0}}, "above 0"),
        ({"semantic": {"title": "much"}}, "a number above 0"),
        ({"encode": 1}, "a callable"),
    ],
)
def test_building_refuses_values_of_the_wrong_type(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        BuildConfig(**settings)
    assert caught.value.argument in settings


@pytest.mark.parametrize("seed", [1.5, "1230", None])
def test_a_seed_of_a_split_is_an_integer(tiny_log: Any, seed: Any) -> None:
    with pytest.raises(ConfigError, match="an integer") as caught:
        split(read_log(tiny_log.clicks), "user_holdout", seed=seed)
    assert caught.value.argument == "seed"
