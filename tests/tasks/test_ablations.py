"""Every row of MicRec's tables 2 and 4 that names a task is one model name, and trains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from micgraph.assembly import make_objective, make_towers
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.recgraph import RecGraph
from micgraph.pipeline import load_run, train

ROWS = {
    "ican": [],
    "ican+fea": ["fea"],
    "ican+sem": ["sem"],
    "ican+sess": ["sess"],
    "ican+fea+sess": ["fea", "sess"],
    "ican+fea+sem": ["fea", "sem"],
    "ican+sem+sess": ["sem", "sess"],
    "ican+micrec": ["fea", "sem", "sess"],
    "ican+rfm": ["rfm"],
    "ican+cfm": ["cfm"],
    "ican+rfm_star": ["fea"],
}


@pytest.fixture
def graph(tiny_log: Any) -> RecGraph:
    return build(read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users))


@pytest.mark.parametrize("name", ROWS)
def test_a_row_of_the_tables_trains(name: str, graph: RecGraph, tmp_path: Path) -> None:
    """Its tasks and no others have a loss, every item field learns, and what is saved is what was trained."""
    config = {"training": {"epochs": 1}, "sampling": {"batch_size": 256}}
    run = train(graph, name, config=config, out=tmp_path / "run", device="cpu", progress=False)
    (row,) = run.metrics
    losses = {key.removeprefix("loss/"): value for key, value in row.items() if key.startswith("loss/")}
    assert set(losses) == {"matching", *ROWS[name]}
    assert all(math.isfinite(value) and value > 0 for value in losses.values())
    untrained = make_objective(run.config, make_towers(run.config, graph), graph).towers
    item = dict(untrained.item_fields.named_parameters())
    assert all(not torch.equal(new, item[key]) for key, new in run.towers.item_fields.named_parameters())
    loaded = load_run(tmp_path / "run")
    assert loaded.name == ("ican+fea" if name == "ican+rfm_star" else name)
    for new, old in zip(loaded.model.item_vectors(), run.model.item_vectors(), strict=True):
        torch.testing.assert_close(new, old)
