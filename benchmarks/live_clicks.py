"""Stores with live clicks beside a generated graph, kept in a folder: a few clicks of every user since its last one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from redis_server import running
from retrieval_data import CLICKS, CLUSTERS

from micgraph.graph.recgraph import RecGraph
from micgraph.retrieval.observing import events_of
from micgraph.stores.contract import Store
from micgraph.stores.keys import user_keys
from micgraph.stores.lmdb_store import LmdbStore

LIVE, BULK = 5, 50_000
"""Clicks a user, and in one append."""
SIZE = 60
STORES = ("lmdb", "redis")


@contextmanager
def opened(name: str, graph: RecGraph, cache: Path | None) -> Iterator[Store]:
    """The store ``name`` with :data:`LIVE` clicks of every user; from the folder ``cache`` where it was filled before.

    Redis writes its file when it is told to end, since it has a rule when to save at all.
    """
    with TemporaryDirectory() as other:
        folder = Path(other) if cache is None else cache / f"live-{graph.n_users}-{graph.n_items}-{LIVE}"
        folder.mkdir(parents=True, exist_ok=True)
        redis = running(folder, SIZE, "--save", "36000 1") if name == "redis" else None
        with LmdbStore(folder / "lmdb", size=SIZE) if redis is None else redis as store:
            if _filled(store, graph):
                print(f"{store}: {LIVE} live clicks of each user are there", flush=True)
            else:
                _fill(store, graph)
            yield store


def _filled(store: Store, graph: RecGraph) -> bool:
    """Whether the last user, who comes last, has his clicks."""
    assert graph.users is not None
    return len(store.read(user_keys(graph.users.ids([graph.n_users - 1]))).items) > 0


def _fill(store: Store, graph: RecGraph) -> None:
    """Append the clicks of all users: near those of the graph, one to five minutes after the last."""
    begun, users, items = time.perf_counter(), graph.users, graph.items
    assert users is not None and items is not None
    rng, col = np.random.default_rng(2), graph.relation("clicks").col.numpy().reshape(-1, CLICKS)
    for first in range(0, graph.n_users, BULK // LIVE):
        user = np.arange(first, min(first + BULK // LIVE, graph.n_users)).repeat(LIVE)
        near = col[user, rng.integers(CLICKS, size=len(user))] + CLUSTERS * rng.integers(50, size=len(user))
        seconds = pa.array(CLICKS + rng.integers(60, 300, size=len(user)))
        store.append(*events_of(users.ids(user), items.ids(near % graph.n_items), seconds, users, items))
    took = time.perf_counter() - begun
    events = graph.n_users * LIVE
    print(f"{store}: {LIVE} live clicks a user, {events:,} appended in {took:.1f} s, {events / took:,.0f} a second")
