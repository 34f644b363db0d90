"""Settings on a machine without pydantic are those of one that has it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from micgraph.presets import ENCODER_PRESETS, resolve
from micgraph.schema import ConfigError

GIVEN: dict[str, dict[str, Any]] = {
    "youtube_dnn": {"model": {"item_hidden": [8, 4]}},
    "graphsage": {"model": {"graph_options": {"fanouts": [3, 2]}}},
}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"trainin": {}}, "trainin: .*did you mean 'training'"),
    ({"training": {"lrr": 1}}, "^training.lrr: .*did you mean 'lr'"),
    ({"training": {"lr": -1.0}}, "^training.lr: expected above 0, got -1.0"),
    ({"model": {"item_bias": True, "similarity": "cosine"}}, "^model.item_bias: expected similarity=dot"),
    ({"tasks": {"matching": {"cont": 3}}}, "^tasks.matching.cont: .*did you mean 'count'"),
    ({"tasks": {"matching": {"count": 0}}}, "^tasks.matching.count: expected at least 1"),
]


@pytest.mark.parametrize("tasks", ["", "+mic", "+micrec"])
@pytest.mark.parametrize("encoder", ENCODER_PRESETS)
def test_the_same_settings(encoder: str, tasks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = resolve(encoder + tasks, GIVEN.get(encoder), 100)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    bare = resolve(encoder + tasks, GIVEN.get(encoder), 100)
    assert bare == ours
    assert [bare.task_config(name) for name in bare.tasks] == [ours.task_config(name) for name in ours.tasks]


@pytest.mark.parametrize(("settings", "message"), WRONG)
def test_names_and_ranges_are_checked(settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ConfigError, match=message):
        resolve("gru4rec", settings, 100)
