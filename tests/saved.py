"""One small directory of every kind that micgraph saves, for tests that damage them or save where there is no room."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import micgraph
from micgraph.knn import VectorIndex

SMALL = {"model": {"dim": 8, "history": 8}, "training": {"epochs": 2}}
LEARNED = {**SMALL, "fusion": {"fusion": "learned", "index": "faiss_hnsw"}}
KINDS = ("torch", "faiss_flat", "faiss_hnsw", "faiss_ivf", "faiss_int8")
DAY = pd.Timedelta(days=1)
SEARCH = {"training.lr": {"values": [0.001, 0.01]}}
QUIET: dict[str, Any] = {"device": "cpu", "progress": False}


class Interrupted(Exception):
    """Stands for whatever ends a training before its time."""


@dataclass(frozen=True)
class Saved:
    """Directories in ``folder``, and the logs that they were made of."""

    folder: Path
    early: pd.DataFrame
    late: pd.DataFrame
    items: pd.DataFrame

    @property
    def graph(self) -> micgraph.RecGraph:
        return micgraph.RecGraph.load(self.folder / "graph")

    @property
    def valid(self) -> micgraph.Holdout:
        return micgraph.Holdout.load(self.folder / "graph-valid")

    def tune(self, out: Path, trials: int = 2) -> micgraph.Tuned:
        return micgraph.tune(self.graph, "gru4rec", self.valid, SEARCH, trials, out, SMALL, **QUIET)

    def train(self, out: Path, **more: Any) -> micgraph.Run:
        return micgraph.train(self.graph, "gru4rec", self.valid, SMALL, out, **QUIET, **more)


def make(folder: Path) -> Saved:
    """graph, graph-valid, graph-test, run with serving, interrupted, refreshed, appended, tuned, indexes, store."""
    found = _logs(folder)
    split = micgraph.split(micgraph.read_log(found.early, items=found.items), "temporal", test="1d", valid="1d")
    assert split.valid is not None
    graph = micgraph.build(split.train, out=folder / "graph")
    split.valid.save(folder / "graph-valid")
    split.test.save(folder / "graph-test")
    run = micgraph.train(graph, "gru4rec", split.valid, LEARNED, folder / "run", **QUIET)
    micgraph.Recommender(run).save(folder / "run" / "serving")
    shutil.copytree(folder / "run", folder / "refreshed")
    micgraph.refresh(folder / "refreshed", found.late, {"training": {"epochs": 1}}, **QUIET)
    shutil.copytree(folder / "graph", folder / "appended")
    micgraph.append(folder / "appended", found.late)
    _interrupt(found, folder / "interrupted")
    found.tune(folder / "tuned")
    for kind in KINDS:
        VectorIndex(torch.randn(100, 8), "cosine", kind).save(folder / f"index-{kind}")
    with micgraph.LmdbStore(folder / "store") as store:
        store.append([b"i1", b"i2"] * 20, np.arange(40), np.arange(40))
    return found


def _logs(folder: Path) -> Saved:
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2024-03-01", tz="UTC")
    rows = [
        (f"u{user}", f"i{item}", start + day * DAY + pd.Timedelta(minutes=place))
        for user in range(20)
        for day in range(7)
        for place, item in enumerate(rng.choice(16, 3, replace=False))
    ]
    clicks = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    number = np.arange(16)
    items = pd.DataFrame({"item_id": [f"i{n}" for n in number], "category": ["a", "b"] * 8, "year": 2000.0 + number})
    cut = clicks["timestamp"].max() - DAY
    return Saved(folder, clicks[clicks["timestamp"] <= cut], clicks[clicks["timestamp"] > cut], items)


def _interrupt(saved: Saved, out: Path) -> None:
    def stop(row: dict[str, Any]) -> None:
        raise Interrupted

    try:
        saved.train(out, on_epoch=stop)
    except Interrupted:
        return
    raise AssertionError("training was not interrupted")
