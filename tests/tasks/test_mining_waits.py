"""Mined neighbours cost a GPU no wait within a step, and mean the same there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from micgraph.schema import CLICKS
from micgraph.training import Trainer
from tests.together import trainer
from tests.waits import as_on_a_gpu, waits_of


def mining(folder: Path, mode: str) -> Trainer:
    """A model in its second epoch, the first that uses what was mined, after one step."""
    made = trainer(folder, "youtube_dnn+mic", {"sampling": {"batch_size": 11}, "mining": {"mode": mode, "clusters": 3}})
    made.objective.begin_epoch(1, made.sampler.graph.relation(CLICKS), 0)
    torch.manual_seed(1)
    made.objective(made.sampler.batch(1, 0))
    return made


def loss(made: Trainer) -> float:
    torch.manual_seed(2)
    return float(made.objective(made.sampler.batch(1, 1))[0].detach())


def test_a_step_waits_no_more_than_without_mining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_on_a_gpu(monkeypatch)
    found = {}
    for mode in ("tables", "none"):
        made = mining(tmp_path / mode, mode)
        batch = made.sampler.batch(1, 1)
        found[mode] = waits_of(lambda made=made, batch=batch: made.objective(batch)[0].backward())
        assert (made.objective.mining is not None and made.objective.mining.active) == (mode == "tables")
    assert found["tables"] == found["none"]


def test_both_programs_spare_the_same_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, without = loss(mining(tmp_path / "a", "tables")), loss(mining(tmp_path / "b", "none"))
    as_on_a_gpu(monkeypatch)
    assert loss(mining(tmp_path / "c", "tables")) == pytest.approx(here, rel=1e-6)
    assert here != pytest.approx(without, rel=1e-3)
