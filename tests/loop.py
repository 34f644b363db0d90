"""What the tests of the loop share: a trainer on a small graph, what it wrote, and a process that dies."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.context import surroundings
from micgraph.sampling.samples import SamplingConfig
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS
from micgraph.training import METRICS, Trainer, TrainingConfig
from tests.toy import random_rows, toy_graph

EVERY_TASK = ("matching", "fea", "sem", "sess", "ui", "uu", "ii")


def trainer(
    folder: Path,
    tasks: tuple[str, ...] = ("matching",),
    rows: list | None = None,
    validate=None,
    reads: dict | None = None,
    **settings,
) -> Trainer:
    """A small model on a small graph; ``reads`` says what items read of it, ``settings`` are of the loop."""
    torch.manual_seed(5)
    rows = rows or random_rows(n_users=20, n_items=20)
    graph = toy_graph(rows, 20)
    model = ModelConfig(
        dim=8, history=5, dropout=0.2, similarity="cosine", temperature=0.2, shared_space=True, **(reads or {})
    )
    towers = TwoTower(model, graph.item_fields, graph.user_fields)
    made = {name: TASKS[name].make(TASKS[name].config(), towers, graph.item_fields) for name in tasks}
    around = surroundings(graph)
    objective = Objective(towers, made, graph.item_fields, graph.user_fields, surroundings=around)
    config = SamplingConfig(samples="positions", batch_size=4)
    sampler = BatchSampler(graph, config, [task.requires for task in made.values()], model.history, reads=towers.reads)
    return Trainer(objective, sampler, TrainingConfig(**settings), folder, validate)


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def scripted(values: list[float]):
    left = iter(values)
    return lambda: {"recall@50": next(left), "ndcg@50": 0.0}


def losses(folder: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(folder)]


class Killed(BaseException):
    pass
