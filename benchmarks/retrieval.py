"""Requests a recommender answers: how long one takes, and how much longer a batch takes than its U2I search alone.

    python benchmarks/retrieval.py [--users 1000000] [--items 1000000] [--index faiss_hnsw] [--requests 1000]

Vectors of 64 numbers and length 1 lie in 2,000 Gaussian clusters; a user's 60 clicks are in three of them. The user
tower is the mean of the latest 30 clicks' vectors and three layers of 128, 64 and 64; sizes are the paper's: U2I gives
200 items, U2U asks 40 users for 60 clicks each, I2I 30 clicks for 50 neighbours each, lists have 200 items. Indexes and
neighbours are made beforehand and not timed. A request is ``recommend`` for one user, from his id to a table with the
reason for each item; a batch is ``recommend`` for 4,096, beside the search of the same users' nearest items alone. The
two take turns. The last line is JSON; stores that are not there are null.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import normalize

from micgraph.graph.fields import Field, Fields
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.ids import IdMap
from micgraph.knn import IndexKind, NeighborTable, Ragged, VectorIndex
from micgraph.retrieval.channels import CHANNELS
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.recommender import Recommender
from micgraph.retrieval.retriever import Retriever

DIM, CLUSTERS, DEVIATION = 64, 2_000, 0.06
"""The deviation is of each coordinate around its cluster's centre, before vectors are brought to length 1."""
CLICKS, FAVOURITES, CATEGORIES, K, BATCH = 60, 3, 300, 200, 4_096


class Tower:
    """A user tower over given item vectors: their mean, moved a little by three layers."""

    metric, history, device = "ip", 30, torch.device("cpu")

    def __init__(self, items: Tensor) -> None:
        torch.manual_seed(0)
        sizes = (DIM, 128, 64, DIM)
        layers = [(torch.nn.Linear(a, b), torch.nn.Tanh()) for a, b in zip(sizes, sizes[1:], strict=False)]
        self.layers = torch.nn.Sequential(*(part for pair in layers for part in pair))
        self.items = items
        self.derived: dict[Any, Any] = {}

    def item_vectors(self) -> tuple[Tensor, Tensor]:
        """One space for both."""
        return self.items, self.items

    @torch.inference_mode()
    def encode_queries(
        self, items: Tensor, mask: Tensor, user: Tensor, fields: Fields | None = None, gap: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of histories [B, T]."""
        use = (mask & (items >= 0))[:, :, None]
        mean = (self.items[items.clamp(min=0)] * use).sum(1) / use.sum(1).clamp(min=1)
        search = normalize(mean + 0.05 * self.layers(mean), dim=-1)
        return search, search


def made(n_users: int, n_items: int) -> tuple[RecGraph, Tensor]:
    """Clicks of users in clusters of items, and the items' vectors float32 [N, 64]."""
    g = torch.Generator().manual_seed(0)
    centre = normalize(torch.randn(CLUSTERS, DIM, generator=g), dim=1)
    cluster = torch.arange(n_items) % CLUSTERS
    vectors = normalize(centre[cluster] + DEVIATION * torch.randn(n_items, DIM, generator=g), dim=1)
    liked = torch.randint(CLUSTERS, (n_users, FAVOURITES), generator=g)
    chosen = liked.gather(1, torch.randint(FAVOURITES, (n_users, CLICKS), generator=g))
    rank = torch.randint(max(1, n_items // CLUSTERS), (n_users, CLICKS), generator=g)
    col = (chosen + CLUSTERS * rank).clamp(max=n_items - 1).reshape(-1).to(torch.int32)
    time_of = torch.arange(CLICKS, dtype=torch.int32).repeat(n_users)
    clicks = Relation(torch.arange(n_users + 1) * CLICKS, col, n_items, time_of)
    code = torch.randint(1, CATEGORIES, (n_items,), generator=g).to(torch.int32)
    graph = RecGraph(
        relations={"clicks": clicks},
        item_fields={"item_id": _identity("item_id", n_items), "category": Field("category", "categorical", 300, code)},
        user_fields={"user_id": _identity("user_id", n_users)},
        users=IdMap(pa.array([f"u{i:07}" for i in range(n_users)])),
        items=IdMap(pa.array([f"i{i:07}" for i in range(n_items)])),
    )
    return graph, vectors


def _identity(name: str, n: int) -> Field:
    return Field(name, "categorical", n + 1, torch.arange(1, n + 1, dtype=torch.int32))


def cluster_neighbors(vectors: Tensor, k: int) -> NeighborTable:
    """The ``k`` nearest of the same cluster: with so small a deviation these are nearly all of the nearest."""
    col = torch.full((len(vectors), k), -1, dtype=torch.int32)
    score = torch.zeros(len(vectors), k, dtype=torch.float16)
    for first in range(min(CLUSTERS, len(vectors))):
        mine = torch.arange(first, len(vectors), CLUSTERS)
        found = (vectors[mine] @ vectors[mine].T).fill_diagonal_(-torch.inf).topk(min(k, len(mine) - 1))
        width = found.indices.shape[1]
        col[mine, :width], score[mine, :width] = mine[found.indices].to(torch.int32), found.values.to(torch.float16)
    return NeighborTable(col, score)


def recommender(n_users: int, n_items: int, kind: IndexKind) -> Recommender:
    """With its indexes and neighbours made."""
    graph, vectors = made(n_users, n_items)
    run = SimpleNamespace(graph=graph, model=Tower(vectors), fusion=FusionConfig(index=kind), learned=None)
    rec = Recommender(run)
    rec.retriever.table = cluster_neighbors(vectors, rec.retriever.config.m3)
    for name in ("index", "users", "blender"):
        begun = time.perf_counter()
        getattr(rec.retriever, name)
        print(f"{name} made in {time.perf_counter() - begun:.1f} s", flush=True)
    return rec


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def single(rec: Recommender, requests: int) -> float:
    """Milliseconds of single requests, printed; the 99th percentile."""
    drawn = np.random.default_rng(0).integers(len(rec.users), size=requests + 20)
    names = rec.users.ids(drawn)
    asked = [names[at : at + 1] for at in range(len(drawn))]
    taken = [1e3 * seconds(partial(rec.recommend, one, k=K)) for one in asked][20:]
    p50, p95, p99 = np.percentile(taken, (50, 95, 99))
    print(f"one request: p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms ({requests:,} requests)", flush=True)
    _stages(rec, drawn[: min(200, requests)])
    return float(p99)


def _stages(rec: Recommender, users: np.ndarray[Any, Any]) -> None:
    """The median milliseconds of the parts of a request, measured apart."""
    taken = [_parts(rec.retriever, user) for user in torch.from_numpy(users)]
    parts = (f"{name} {1e3 * np.median([one[name] for one in taken]):.2f} ms" for name in taken[0])
    print("  " + ", ".join(parts), flush=True)


def _parts(retriever: Retriever, user: Tensor) -> dict[str, float]:
    """Seconds of each part of one user's request."""
    begun = time.perf_counter()
    start, stop = retriever.clicks.indptr[user : user + 2].tolist()
    seen = Ragged(torch.tensor([0, stop - start]), retriever.clicks.col[start:stop].long())
    queries = next(retriever.encode(seen, user[None], exclude=seen))
    tower = time.perf_counter() - begun
    ways: dict[Any, Any] = dict(retriever.ways(retriever.config.channels, K))
    searches = {
        "U2I search": seconds(lambda: ways["u2i"].near(queries)),
        "U2U search": seconds(lambda: ways["u2u"].alike(queries)),
    }
    lists = seconds(lambda: retriever.lists(queries, K))
    return {"user tower": tower, **searches, "fusion": lists - sum(searches.values()), "these together": tower + lists}


def batch(rec: Recommender, size: int, repeats: int) -> float:
    """How many times as long a batch takes as its U2I search alone."""
    drawn = np.random.default_rng(1).integers(len(rec.users), size=size)
    names, users = rec.users.ids(drawn), torch.from_numpy(drawn)
    rows = rec.retriever.clicks.col[users[:, None] * CLICKS + torch.arange(CLICKS)].long().reshape(-1)
    seen = Ragged(torch.arange(size + 1) * CLICKS, rows)
    queries = list(rec.retriever.encode(seen, users, exclude=seen))
    ways: dict[Any, Any] = dict(rec.retriever.ways(CHANNELS[:1], K))
    taken: dict[str, list[float]] = {"u2i": [], "all": []}
    for turn in range(repeats + 1):
        for name in ("u2i", "all") if turn % 2 else ("all", "u2i"):
            alone = name == "u2i"
            work = (lambda: [ways["u2i"].near(q) for q in queries]) if alone else (lambda: rec.recommend(names, k=K))
            taken[name].append(seconds(work))
    u2i, whole = (float(np.median(taken[name][1:])) for name in ("u2i", "all"))
    print(f"{size:,} users: U2I search alone {u2i:.2f} s, recommend {whole:.2f} s, {whole / u2i:.2f} times", flush=True)
    return whole / u2i


def recall(rec: Recommender, users: int = 500) -> float:
    """The share of the true nearest 200 items that U2I's index finds."""
    index = rec.retriever.index
    search = rec.retriever.users.vectors[:users]  # own and search vectors of this tower are one
    true = VectorIndex(index.vectors, index.metric).search(search, K)[1]
    found = index.search(search, K)[1]
    return float((true[:, :, None] == found[:, None, :]).any(2).float().mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    args = _arguments(argv)
    torch.set_num_threads(args.threads)
    machine = f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}, index {args.index}"
    sizes = f"{args.users:,} users, {args.items:,} items, {CLUSTERS:,} clusters of deviation {DEVIATION} a coordinate"
    print(f"{machine}\n{sizes}", flush=True)
    rec = recommender(args.users, args.items, args.index)
    figures = {
        "p99_ms_memory": round(single(rec, args.requests), 2),
        "p99_ms_lmdb": None,
        "p99_ms_redis": None,
        "recall_vs_exact": round(recall(rec), 4),
        "batch_ratio": round(batch(rec, args.batch, args.repeats), 2),
    }
    print(json.dumps(figures))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--index", choices=get_args(IndexKind), default="torch")
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
