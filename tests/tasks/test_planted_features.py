"""Structure planted in item features that only the feature-level tasks can find.

Items come in clusters, and each cluster has values of its own in every field, so that values of different fields occur
together; walkers click independently and uniformly, so that the base model learns nothing of it. Two answers are asked
for. *Partners* are items of one cluster that share no value at all: masked views must draw them together through
chains of values. And an item must be *told* from all others by a fifth of its features' numbers, which is what element
dropout trains.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from micgraph.assembly import make_objective, make_towers
from micgraph.graph.build_config import BuildConfig
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.recgraph import RecGraph
from micgraph.presets import resolve
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.samples import SamplingConfig
from micgraph.tasks.feature import FeatureCL, FeatureConfig
from micgraph.tasks.objective import Objective

CLUSTERS, SIZE, DAY = 8, 15, 86_400
N = CLUSTERS * SIZE
SINGLE = ("brand", "style", "maker")
FIELDS = (*SINGLE, "tags")


def planted(seed: int) -> tuple[pd.DataFrame, RecGraph]:
    """Three fields with three values a cluster, and two of a cluster's five tags; 80 walkers with 10 clicks each."""
    random = np.random.default_rng(seed)
    tour = np.concatenate([random.permutation(N) for _ in range(7)])[:800]
    rows = [(f"walker {k % 80}", int(item), 1_700_000_000 + k // 80 * DAY) for k, item in enumerate(tour)]
    cluster = np.arange(N) // SIZE
    items = pd.DataFrame({"item_id": np.arange(N)})
    for name in SINGLE:
        items[name] = [f"{name} {c} {random.integers(3)}" for c in cluster]
    items["tags"] = [[f"tag {c} {t}" for t in random.choice(5, 2, replace=False)] for c in cluster]
    log = read_log(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), items=items)
    return items, build(log, BuildConfig(semantic=()))


def trained(graph: RecGraph, tasks: dict[str, Any], fields: tuple[str, ...], seed: int) -> Objective:
    """A hundred steps of the base model with these tasks."""
    settings = {"encoder": "mic_dnn", "dim": 32, "history": 8, "item_fields": fields}
    config = resolve(None, {"model": settings, "tasks": tasks, "training": {"seed": seed}}, N)
    objective = make_objective(config, make_towers(config, graph), graph)
    needs = [task.requires for task in objective.tasks.values()]
    sampler = BatchSampler(graph, SamplingConfig(batch_size=128), needs, 8, seed)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    for step in range(100):
        loss, _ = objective(sampler.batch(*divmod(step, sampler.steps)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return objective.eval()


def partners_before_strangers(objective: Objective, items: pd.DataFrame, fields: tuple[str, ...]) -> float:
    """Chance that a partner is nearer than an item of another cluster (neither shares a value with the item)."""
    own = F.normalize(objective.towers.items(objective.fields["item"]).vectors[:-1].detach(), dim=1)
    near = own @ own.T
    values = [
        {v for f in fields for v in ([row[f]] if isinstance(row[f], str) else row[f])} for _, row in items.iterrows()
    ]
    scores = []
    for i in range(N):
        strangers = near[i][torch.arange(N) // SIZE != i // SIZE]
        for j in range(i // SIZE * SIZE, i // SIZE * SIZE + SIZE):
            if not values[i] & values[j]:
                scores.append(float((near[i, j] > strangers).float().mean()))
    assert len(scores) > 100
    return sum(scores) / len(scores)


def told_apart(objective: Objective) -> float:
    """Share of items that are nearest, behind the feature task's projector (without the task a random one), to their
    own features with 4/5 dropped."""
    towers, fields = objective.towers, objective.fields["item"]
    task = objective.tasks["fea"] if "fea" in objective.tasks else FeatureCL(FeatureConfig(), towers, fields)
    with torch.no_grad():
        raw = towers.items(fields).fields[:-1].flatten(1)
        found = task.project(F.dropout(raw, 0.8)) @ task.project(raw).T
    return float((found.argmax(1) == torch.arange(N)).float().mean())


MASKED: dict[str, dict[str, Any]] = {
    "off": {},
    "rfm": {"rfm": {}},
    "cfm": {"cfm": {}},
    "field dropout": {
        "fea": {"augment": "field", "mask_ratio": 0.8, "through_tower": True, "cosine": True, "tau": 0.2}
    },
}
VALUES = {"augment": "categorical", "mask_ratio": 0.8, "through_tower": True, "cosine": True, "tau": 0.2}


@pytest.mark.parametrize("seed", [0, 1])
def test_only_masked_views_find_partners_that_share_no_value(seed: int) -> None:
    items, graph = planted(seed)
    found = {
        name: partners_before_strangers(trained(graph, tasks, FIELDS, seed), items, FIELDS)
        for name, tasks in MASKED.items()
    }
    assert found.pop("off") < 0.5 and min(found.values()) > 0.65, found


@pytest.mark.parametrize("seed", [0, 1])
def test_only_dropping_values_finds_partners_by_their_tags(seed: int) -> None:
    items, graph = planted(seed)
    off, on = (trained(graph, tasks, ("tags",), seed) for tasks in ({}, {"fea": VALUES}))
    assert partners_before_strangers(off, items, ("tags",)) < 0.65
    assert partners_before_strangers(on, items, ("tags",)) > 0.8


@pytest.mark.parametrize("seed", [0, 1])
def test_only_element_dropout_tells_items_by_a_fifth_of_their_features(seed: int) -> None:
    _, graph = planted(seed)
    off, on = (trained(graph, tasks, FIELDS, seed) for tasks in ({}, {"fea": {"mask_ratio": 0.7}}))
    assert told_apart(off) < 0.45 and told_apart(on) > 0.6
