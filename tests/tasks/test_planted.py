"""Structure planted in a log that only one task can find, and what MIC's channels do to the geometry.

Items come in rings of four. What links ring-neighbours (a shared basket, or a shared word in the titles) is all that a
task sees; the answer asked for is the *other* members of the ring, which no edge names: a held-out partner is found
only because a chain of pairs has been pulled together.

The base model cannot know the rings. It learns from *walkers*, whose clicks are independent and uniform over all
items and lie days apart, so that they make no co-occurrence. Baskets belong to other users with one basket each, all
of it in one second: with strict histories and ``min_history=1`` none of their clicks is a target or a history item, so
they reach training through co-occurrence edges alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from micgraph import metrics
from micgraph.assembly import make_objective
from micgraph.graph.build_config import BuildConfig
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.recgraph import RecGraph
from micgraph.knn import topk
from micgraph.pipeline import train
from micgraph.presets import RunConfig
from micgraph.run import Run
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.samples import SamplingConfig

RINGS, SIZE = 30, 4
N = RINGS * SIZE
DAY = 86_400
SETTINGS = {
    "model": {"dim": 32, "history": 8},
    "sampling": {"batch_size": 128},
    "training": {"epochs": 15, "lr": 0.01},
}


def walkers(random: np.random.Generator) -> list[tuple[str, int, int]]:
    """(user, item, second): 160 users, 10 clicks each; the first tour visits every item, so all are trained."""
    tour = np.concatenate([random.permutation(N) for _ in range(14)])[:1600]
    return [(f"walker {k % 160}", int(item), k // 160 * DAY) for k, item in enumerate(tour)]


def baskets() -> list[tuple[str, int, int]]:
    """Every pair of ring-neighbours is bought together by two users of its own."""
    rows = []
    for item in range(N):
        ring, place = divmod(item, SIZE)
        other = ring * SIZE + (place + 1) % SIZE
        for copy in range(2):
            user = f"buyer {item} {copy}"
            rows += [(user, item, 0), (user, other, 0)]
    return rows


def titles() -> pd.DataFrame:
    """Ring-neighbours share one word of their two; other items share none."""
    words = [f"word{i // SIZE}x{i % SIZE} word{i // SIZE}x{(i + 1) % SIZE}" for i in range(N)]
    return pd.DataFrame({"item_id": np.arange(N), "title": words})


def planted(task: str, seed: int) -> RecGraph:
    rows = walkers(np.random.default_rng(seed))
    if task == "sess":
        rows += baskets()
    log = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    log["timestamp"] += 1_700_000_000
    items = titles() if task == "sem" else None
    return build(read_log(log, items=items), BuildConfig(semantic_k=2))


def linked(item: int) -> set[int]:
    ring, place = divmod(item, SIZE)
    return {ring * SIZE + (place + step) % SIZE for step in (1, SIZE - 1)}


def held_out(item: int) -> set[int]:
    ring = item // SIZE
    return set(range(ring * SIZE, ring * SIZE + SIZE)) - linked(item) - {item}


def recall_of_held_out(run: Run) -> float:
    """recall@10 of the partners that no edge names, among the nearest other items by own vectors."""
    _, own = run.model.item_vectors()
    _, near = topk(own, own, 11, metric="cosine")
    hits = 0
    for item, line in enumerate(near.tolist()):
        hits += len(held_out(item) & set([j for j in line if j != item][:10]))
    return hits / sum(len(held_out(item)) for item in range(N))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("task", ["sess", "sem"])
def test_only_the_task_finds_the_planted_rings(task: str, seed: int, tmp_path: Path) -> None:
    graph = planted(task, seed)
    rel = graph.relation({"sess": "co_occurs", "sem": "similar"}[task])
    edges = {(int(a), int(b)) for a, b in zip(rel.row_index(), rel.col, strict=True)}
    assert edges == {(a, b) for a in range(N) for b in linked(a)}, "held-out partners are no edges"
    config = {**SETTINGS, "training": {**SETTINGS["training"], "seed": seed}}
    base = train(graph, "mic_dnn", config=config, out=tmp_path / "base", device="cpu", progress=False)
    with_task = {**config, "tasks": {task: {"weight": 1.0, "cosine": True, "tau": 0.2}}}
    run = train(graph, f"mic_dnn+{task}", config=with_task, out=tmp_path / "run", device="cpu", progress=False)
    assert recall_of_held_out(base) <= 0.2
    assert recall_of_held_out(run) >= 0.8


def test_the_base_model_never_meets_a_basket() -> None:
    """What the module's text promises: buyers are in no training sample, and walkers make no session edge."""
    graph = planted("sess", 0)
    assert graph.users is not None
    names = graph.users.values.to_pylist()
    sampler = BatchSampler(graph, SamplingConfig(batch_size=10_000), [], 8)
    assert {names[u].split()[0] for u in sampler.batch(0, 0).user.tolist()} == {"walker"}
    alone = build(
        read_log(pd.DataFrame(walkers(np.random.default_rng(0)), columns=["user_id", "item_id", "timestamp"]))
    )
    assert alone.relation("co_occurs").n_edges == 0


def geometry(graph: RecGraph, task: str, seed: int, folder: Path) -> dict[str, float]:
    """Alignment and uniformity of a trained model, on one big batch with perturbations it has not been trained on."""
    config = {
        "model": {"dim": 16, "history": 10, "similarity": "cosine", "temperature": 0.1, "shared_space": True},
        "sampling": {"samples": "clicks", "batch_size": 256},
        "tasks": {"matching": {"weight": 0.7}, **({task: {"weight": 1.0}} if task else {})},
        "training": {"epochs": 8, "lr": 0.005, "seed": seed},
        "mining": {"mode": "none"},  # its own positives pull elsewhere: see test_planted_mic
    }
    name = "mic_dnn" + (f"+{task}" if task else "")
    run = train(graph, name, config=config, out=folder, device="cpu", progress=False)
    judge = make_objective(RunConfig(model=run.config.model, tasks={"uu": {}, "ii": {}}), run.towers, graph).eval()
    sampler = BatchSampler(graph, run.config.sampling, [t.requires for t in judge.tasks.values()], 10, seed=99)
    batch = sampler.batch(0, 0)
    with torch.no_grad():
        reps = judge.encode(batch)
    queries, items = reps.queries[batch.anchor], reps.items.vectors[batch.item_anchor]
    found, wanted = reps.search_queries[batch.anchor], reps.search_items[batch.target[batch.anchor]]
    return {
        "ui alignment": float(metrics.alignment(found, wanted)),
        "ui relative": relative(found, wanted),
        "uu relative": relative(queries, reps.query_views[0]),
        "uu uniformity": float(metrics.uniformity(queries)),
        "ii uniformity": float(metrics.uniformity(items)),
    }


def relative(x: torch.Tensor, y: torch.Tensor) -> float:
    """Alignment of the pairs over the alignment of strangers: below 1, a row is nearer to its own partner."""
    strangers = [metrics.alignment(x, y.roll(shift, 0)) for shift in range(1, len(x))]
    return float(metrics.alignment(x, y) / torch.stack(strangers).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_mics_channels_move_the_geometry(tiny_log: Any, tmp_path: Path, seed: int) -> None:
    """Lower is better everywhere: ui pulls queries to their targets, uu makes a user's own view nearer than strangers
    by spreading the users, ii spreads the items."""
    graph = build(read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users))
    off = geometry(graph, "", seed, tmp_path / "off")
    moved = {"ui": ["ui alignment", "ui relative"], "uu": ["uu relative", "uu uniformity"], "ii": ["ii uniformity"]}
    for task, names in moved.items():
        on = geometry(graph, task, seed, tmp_path / task)
        assert {name: on[name] < off[name] for name in names} == dict.fromkeys(names, True), (task, off, on)
