"""Hidden tastes planted in a log, which mining finds and pulls together (MIC 2.4.2, DECISIONS 25).

Users have one of eight hidden tastes and click items of it; an item shows its taste only through three of ten words,
some of which other tastes use too. Contrast alone takes everybody else for a negative, also those of the same taste;
with mining they are positives.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.recgraph import RecGraph
from micgraph.pipeline import train
from micgraph.run import Run
from micgraph.tasks.losses import unit
from micgraph.tasks.tables import encode_all

TASTES, ITEMS_EACH, USERS_EACH = 8, 12, 20
DAY = 86_400


def planted(seed: int) -> RecGraph:
    random = np.random.default_rng(seed)
    rows, items = [], []
    for item in range(TASTES * ITEMS_EACH):
        taste = item % TASTES
        words = random.choice(np.arange(taste * 5, taste * 5 + 10) % (TASTES * 5), 3, replace=False)
        items.append({"item_id": item, "tags": [f"w{w}" for w in words]})
    for user in range(TASTES * USERS_EACH):
        taste = user % TASTES
        for day in range(8):
            liked = random.random() < 0.7
            item = int(random.integers(ITEMS_EACH)) * TASTES + (taste if liked else int(random.integers(TASTES)))
            rows.append((user, item, 1_700_000_000 + day * DAY))
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return build(read_log(log, items=pd.DataFrame(items)))


def trained(graph: RecGraph, task: str, mode: str, seed: int, folder: Path) -> Run:
    config = {
        "model": {"dim": 16, "history": 8, "similarity": "cosine", "temperature": 0.2, **FIELDS[task]},
        "sampling": {"samples": "clicks", "batch_size": 128},
        "tasks": {"matching": {"weight": 0.1}, task: {"weight": 1.0}},
        "mining": {"mode": mode, "start": 5, "clusters": TASTES, "bank": 512},
        "training": {"epochs": 8, "lr": 0.01, "seed": seed},
    }
    return train(graph, f"mic_dnn+{task}", config=config, out=folder, device="cpu", progress=False)


def apart(run: Run, graph: RecGraph, left: str, right: str) -> float:
    """Mean cosine of pairs of one taste less that of pairs of two, in units of the spread over all pairs."""
    assert graph.users is not None and graph.items is not None
    found = encode_all(run.model, graph.relation("clicks"), ["user_own", "user_search", "item_own", "item_search"])
    names = {"user": graph.users.values.to_pylist(), "item": graph.items.values.to_pylist()}
    taste, vectors = [], []
    for space in (left, right):
        number, vector = found[space]
        taste.append(torch.tensor([int(names[space[:4]][i]) % TASTES for i in number.tolist()]))
        vectors.append(unit(vector))
    scores, same = vectors[0] @ vectors[1].T, taste[0][:, None] == taste[1][None, :]
    other = ~torch.eye(*scores.shape, dtype=torch.bool) if left == right else torch.ones_like(same)
    return float((scores[same & other].mean() - scores[~same].mean()) / scores[other].std())


FIELDS: dict[str, dict[str, list[str]]] = {"uu": {}, "ui": {}, "ii": {"item_fields": ["tags"]}}
SPACES = {"uu": ("user_own", "user_own"), "ii": ("item_own", "item_own"), "ui": ("user_search", "item_search")}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("task", SPACES)
def test_mining_brings_hidden_tastes_together(task: str, seed: int, tmp_path: Path) -> None:
    graph = planted(seed)
    modes = ("none", "tables", "bank") if seed == 0 else ("none", "tables")
    gap = {mode: apart(trained(graph, task, mode, seed, tmp_path / mode), graph, *SPACES[task]) for mode in modes}
    for mode in modes[1:]:
        assert gap[mode] > 1.03 * gap["none"], gap
