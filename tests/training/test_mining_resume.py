"""A run that mines goes on after a stop as if nothing had happened, in the middle of an epoch too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.samples import SamplingConfig
from micgraph.tasks.mining import MiningConfig
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS, make_mining
from micgraph.training import Trainer, TrainingConfig
from tests.toy import random_rows, toy_graph

TASK_NAMES = ("matching", "ui", "uu", "ii")


class Killed(Exception):
    pass


def trainer(folder: Path, mode: str) -> Trainer:
    torch.manual_seed(5)
    graph = toy_graph(random_rows(n_users=20, n_items=20), 20)
    model = ModelConfig(dim=8, history=5, dropout=0.2, shared_space=True)
    towers = TwoTower(model, graph.item_fields, graph.user_fields)
    tasks = {name: TASKS[name].make(TASKS[name].config(), towers, graph.item_fields) for name in TASK_NAMES}
    config = MiningConfig(mode=mode, start=2, k=2, clusters=4, hard=3, bank=12)  # type: ignore[arg-type]
    mining = make_mining(config, tasks.values(), 40)
    objective = Objective(towers, tasks, graph.item_fields, graph.user_fields, mining=mining)
    sampling = SamplingConfig(samples="positions", batch_size=4)
    sampler = BatchSampler(graph, sampling, [task.requires for task in tasks.values()], model.history)
    return Trainer(objective, sampler, TrainingConfig(epochs=3, lr=0.01, checkpoint_every=2), folder)


@pytest.mark.parametrize("mode", ["tables", "bank"])
def test_stopped_anywhere_it_goes_on_bit_for_bit(tmp_path: Path, mode: str) -> None:
    whole = trainer(tmp_path / "whole", mode)
    whole.run()
    want = whole.objective.state_dict()
    without = trainer(tmp_path / "without", "none")
    without.run()
    weight = "towers.encoder.gru.weight_ih_l0"
    assert not torch.equal(want[weight], without.objective.state_dict()[weight]), "mining does something"
    steps = whole.sampler.steps
    for stop in (1, steps, steps + 3, 2 * steps + 1, 3 * steps - 1):  # in the first epoch, at its end, while mining
        folder = tmp_path / f"{stop}"
        broken, taken = trainer(folder, mode), iter(range(1, 999))
        step = broken._step

        def dying(at: int, order: torch.Tensor, step=step, taken=taken, stop=stop) -> None:
            step(at, order)
            if next(taken) == stop:
                raise Killed

        broken._step = dying  # type: ignore[method-assign]
        with pytest.raises(Killed):
            broken.run()
        again = trainer(folder, mode)
        again.run()
        got = again.objective.state_dict()
        assert got.keys() == want.keys() and all(torch.equal(got[name], want[name]) for name in got)
