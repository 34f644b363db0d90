"""Requests a recommender answers: how long one takes, and how much longer a batch takes than its U2I search alone.

    python benchmarks/retrieval.py --users 1000000 --items 1000000 [--cache FOLDER]

Vectors of 64 numbers and length 1 lie in 2,000 Gaussian clusters; a user's 60 clicks are in three of them. The user
tower is the mean of the latest 30 clicks' vectors and three layers of 128, 64 and 64; sizes are the paper's: U2I gives
200 items, U2U asks 40 users for 60 clicks each, I2I 30 clicks for 50 neighbours each, lists have 200 items. Indexes,
neighbours and filled stores are made beforehand and not timed; with ``--cache`` they are kept for the next run. How
much the indexes read is chosen by measured recall. A request is ``recommend`` for one user, from his id to a table with
the reason for each item, with the graph alone and with live clicks of every user in LMDB and in Redis (``appendonly
no``: appends are not timed); a batch is ``recommend`` for 4,096, beside the search of the same users' nearest items
alone. The two take turns. Single requests are answered by one thread of torch and FAISS, as a service should have it:
two take longer over work of microseconds. Batches have ``--threads``. The last line is JSON; what was not measured is
null.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import torch
from live_clicks import STORES, opened
from retrieval_data import CLICKS, CLUSTERS, DEVIATION, Tower, made, prepare
from torch import Tensor

from micgraph.knn import IndexConfig, IndexKind, Ragged, VectorIndex, load_faiss
from micgraph.retrieval.channels import CHANNELS
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.recommender import Recommender
from micgraph.retrieval.retriever import Retriever
from micgraph.stores.contract import Store

K, BATCH, WARM, SAMPLE = 200, 4_096, 20, 500


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def single(rec: Recommender, requests: int, name: str) -> float:
    """Milliseconds of single requests, printed; the 99th percentile."""
    drawn = np.random.default_rng(0).integers(len(rec.users), size=requests + WARM)
    names = rec.users.ids(drawn)
    asked = [names[at : at + 1] for at in range(len(drawn))]
    taken = [1e3 * seconds(partial(rec.recommend, one, k=K)) for one in asked][WARM:]
    p50, p95, p99 = np.percentile(taken, (50, 95, 99))
    spread = f"p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms, at most {max(taken):.2f} ms"
    print(f"one request, {name}: {spread} ({requests:,} requests)", flush=True)
    _stages(rec, drawn[: min(200, requests)])
    return float(p99)


def _stages(rec: Recommender, users: np.ndarray[Any, Any]) -> None:
    """The median milliseconds of the parts of a request, measured apart."""
    taken = [_parts(rec.retriever.for_request(), user) for user in torch.from_numpy(users)]
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
        "clicks of similar users": seconds(lambda: ways["u2u"].read(ways["u2u"].alike(queries)[1])),
    }
    searches["clicks of similar users"] -= searches["U2U search"]
    lists = seconds(lambda: retriever.lists(queries, K))
    return {"user tower": tower, **searches, "fusion": lists - sum(searches.values()), "these together": tower + lists}


def batch(rec: Recommender, size: int, repeats: int, name: str) -> float:
    """How many times as long a batch takes as its U2I search alone."""
    drawn = np.random.default_rng(1).integers(len(rec.users), size=size)
    names, users = rec.users.ids(drawn), torch.from_numpy(drawn)
    rows = rec.retriever.clicks.col[users[:, None] * CLICKS + torch.arange(CLICKS)].long().reshape(-1)
    seen = Ragged(torch.arange(size + 1) * CLICKS, rows)
    queries = list(rec.retriever.encode(seen, users, exclude=seen))
    ways: dict[Any, Any] = dict(rec.retriever.ways(CHANNELS[:1], K))
    taken: dict[str, list[float]] = {"u2i": [], "all": []}
    for turn in range(repeats + 1):
        for which in ("u2i", "all") if turn % 2 else ("all", "u2i"):
            alone = which == "u2i"
            work = (lambda: [ways["u2i"].near(q) for q in queries]) if alone else (lambda: rec.recommend(names, k=K))
            taken[which].append(seconds(work))
    u2i, whole = (float(np.median(taken[which][1:])) for which in ("u2i", "all"))
    ratio = whole / u2i
    print(f"{size:,} users, {name}: U2I search {u2i:.2f} s, recommend {whole:.2f} s, {ratio:.2f} times", flush=True)
    return ratio


def recall(rec: Recommender) -> float:
    """The share of the true nearest 200 items that U2I's index finds, of users that it was not tuned on."""
    index = rec.retriever.index
    search = rec.retriever.users.vectors[-SAMPLE:]  # own and search vectors of this tower are one
    true = VectorIndex(index.vectors, index.metric).search(search, K)[1]
    found = index.search(search, K)[1]
    return float((true[:, :, None] == found[:, None, :]).any(2).float().mean())


def _use(threads: int) -> None:
    """So many threads of torch, and of FAISS where it is installed."""
    torch.set_num_threads(threads)
    if find_spec("faiss") is not None:
        load_faiss("index").omp_set_num_threads(threads)


def measured(run: SimpleNamespace, args: argparse.Namespace) -> dict[str, float | None]:
    """The figures, printed on the way."""

    def latency(store: Store | None, name: str) -> tuple[float, float]:
        rec = Recommender(run, store=store)
        _use(1)
        p99 = single(rec, args.requests, name)
        _use(args.threads)
        return p99, batch(rec, args.batch, args.repeats, name)

    figures: dict[str, float | None] = {"p99_ms_memory": 0.0, **{f"p99_ms_{name}": None for name in STORES}}
    ratios: dict[str, float | None] = {}
    figures["p99_ms_memory"], ratios["batch_ratio"] = latency(None, "the graph alone")
    for name in args.stores:
        with opened(name, run.graph, args.cache) as store:
            figures[f"p99_ms_{name}"], ratios[f"batch_ratio_{name}"] = latency(store, name)
    return {**figures, "recall_vs_exact": recall(Recommender(run)), **ratios}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print."""
    args = _arguments(argv)
    _use(args.threads)
    machine = f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}, index {args.index}"
    sizes = f"{args.users:,} users, {args.items:,} items, {CLUSTERS:,} clusters of deviation {DEVIATION} a coordinate"
    print(f"{machine}\n{sizes}", flush=True)
    graph, vectors = made(args.users, args.items)
    items = IndexConfig(hnsw_m=args.hnsw_m, ef_construction=args.ef_construction)
    config = FusionConfig(index=args.index, item_index=items, user_index=IndexConfig(hnsw_m=args.hnsw_m))
    tower = Tower(vectors)
    config = prepare(graph, tower, config, args.cache, min(SAMPLE, args.users))
    figures = measured(SimpleNamespace(graph=graph, model=tower, fusion=config, learned=None), args)
    print(json.dumps({name: None if value is None else round(value, 4) for name, value in figures.items()}))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--index", choices=get_args(IndexKind), default="faiss_hnsw")
    parser.add_argument("--hnsw-m", type=int, default=32)
    parser.add_argument("--ef-construction", type=int, default=80, help="of the items' index")
    parser.add_argument("--cache", type=Path, default=None, help="folder that keeps what takes long to make")
    parser.add_argument("--stores", nargs="*", choices=STORES, default=list(STORES))
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of a batch")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
