"""What the tests of mining share: a small graph, and cosines and contrasts as loops."""

from __future__ import annotations

import math
from typing import Any

import torch

from micgraph.graph.recgraph import RecGraph
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.samples import SamplingConfig
from micgraph.tasks.augment import PerturbConfig
from micgraph.tasks.mining import MiningConfig
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS, make_mining
from micgraph.tasks.support import Support
from tests.toy import random_rows, toy_graph

N_ITEMS = 14


ROWS = random_rows(n_users=12, n_items=N_ITEMS)


SMALL = {"start": 1, "k": 2, "clusters": 4, "hard": 6, "bank": 8}


def cos(a: Any, b: Any) -> float:
    a, b = [float(x) for x in a], [float(x) for x in b]
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def ratio(positive: float, negatives: list[float], literal: bool = False) -> float:
    total = sum(map(math.exp, negatives)) + (0.0 if literal else math.exp(positive))
    return math.log(total) - positive if total and negatives else 0.0


def contrast(anchor: Any, own: Any, others: list[Any], support: Support, i: int, tau: float, literal: bool) -> float:
    """The mean over an anchor's positives, each alone in front of all negatives (MIC 2.5: every positive pair)."""
    rows = support.vectors
    positives = [own, *(rows[j] for j, valid in zip(support.near[i], support.near_valid[i], strict=True) if valid)]
    negatives = [*others, *(rows[j] for j, valid in zip(support.hard[i], support.hard_valid[i], strict=True) if valid)]
    against = [cos(anchor, v) / tau for v in negatives]
    losses = [ratio(cos(anchor, v) / tau, against, literal) for v in positives]
    return (losses[0] + support.weight * sum(losses[1:])) / (1 + support.weight * len(losses[1:]))


def made(
    tasks: tuple[str, ...] = ("ui", "uu", "ii"),
    mining: dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
    samples: str = "clicks",
    **model: Any,
) -> tuple[Objective, BatchSampler, RecGraph]:
    """An objective that mines, its sampler and its graph; the model is one that has drawn random weights only."""
    torch.manual_seed(3)
    graph = toy_graph(ROWS, N_ITEMS)
    towers = TwoTower(ModelConfig(dim=8, history=5, shared_space=True, **model), graph.item_fields, graph.user_fields)
    chosen = {n: TASKS[n].make(TASKS[n].config(**(task or {})), towers, graph.item_fields) for n in tasks}
    config = MiningConfig(**{"mode": "tables", **SMALL, **(mining or {})})
    found = make_mining(config, chosen.values(), graph.n_users + graph.n_items)
    perturb = PerturbConfig(0.3, 0.0)
    objective = Objective(towers, chosen, graph.item_fields, graph.user_fields, perturb, found)
    requires = [t.requires for t in chosen.values()]
    return objective, BatchSampler(graph, SamplingConfig(samples=samples, batch_size=12), requires, 5), graph
