"""One batch and what a step encodes for it, and the pieces of the oracles that tests of tasks share."""

from __future__ import annotations

import math

import torch

from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Batch
from micgraph.sampling.samples import SamplingConfig
from micgraph.tasks.augment import PerturbConfig
from micgraph.tasks.base import Reps
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS
from tests.toy import random_rows, toy_graph

N_ITEMS = 14
ROWS = random_rows(n_items=N_ITEMS)
CLICKED = {(user, item) for user, row in enumerate(ROWS) for _, item in row}
POPULARITY = [sum(item == i for row in ROWS for _, item in row) for i in range(N_ITEMS)]


def step(
    tasks: dict[str, dict], samples: str = "clicks", perturb: PerturbConfig | None = None, **model
) -> tuple[Objective, Batch, Reps]:
    """An objective with these tasks, one batch and what was encoded for it, without dropout."""
    graph = toy_graph(ROWS, N_ITEMS)
    towers = TwoTower(ModelConfig(dim=8, history=5, **model), graph.item_fields, graph.user_fields)
    made = {
        name: TASKS[name].make(TASKS[name].config(**settings), towers, graph.item_fields)
        for name, settings in tasks.items()
    }
    objective = Objective(towers, made, graph.item_fields, graph.user_fields, perturb).eval()
    config = SamplingConfig(samples=samples, batch_size=12)
    batch = BatchSampler(graph, config, [t.requires for t in made.values()], 5).batch(0, 0)
    with torch.no_grad():
        return objective, batch, objective.encode(batch)


def loss_of(name: str, **settings) -> tuple[float, Batch, Reps, Objective]:
    samples, model = settings.pop("samples", "clicks"), settings.pop("model", {})
    objective, batch, reps = step({name: settings}, samples, **model)
    with torch.no_grad():
        return float(objective.tasks[name](batch, reps)), batch, reps, objective


def dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def cos(a: torch.Tensor, b: torch.Tensor) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def ratio(positive: float, negatives: list[float], literal: bool = False) -> float:
    total = sum(map(math.exp, negatives)) + (0.0 if literal else math.exp(positive))
    return math.log(total) - positive if total else 0.0


def average(terms: list[float]) -> float:
    assert terms
    return sum(terms) / len(terms)
