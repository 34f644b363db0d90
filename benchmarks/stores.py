"""Whether live stores keep up: clicks observed in bulk by four threads, recalls beside them, and nothing lost.

    python benchmarks/stores.py [--seconds 60] [--events 10000] [--recalls 20] [--users 20000] [--stores lmdb redis]

A recommender serves ``--users`` users and 100,000 items (the vectors of retrieval.py, searched by HNSW), all with 60
clicks in its graph. Four threads ``observe`` bulks of at most 100 clicks, ``--events`` a second together; a fifth one
asks it for 200 items of a user ``--recalls`` times a second. A tenth of the clicks comes twice and a tenth comes late.
After each recall the histories of 41 users are read and checked (in order, distinct, of the input), and in the end all
histories, against the input. The disk of ``--folder`` counts; Redis is started here, with ``appendfsync always``. The
last line is JSON: events a second that were acknowledged, recalls a second and their milliseconds (median and 99%),
milliseconds of an ``observe`` (99%), and whether all was right.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from redis_server import running
from retrieval_data import Tower, made, prepare

from micgraph.knn import IndexConfig, Ragged, load_faiss
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.recommender import Recommender
from micgraph.stores.contract import Store
from micgraph.stores.keys import item_keys, user_keys
from micgraph.stores.lmdb_store import LmdbStore

THREADS, BULK, SIZE, READ, K = 4, 100, 60, 41, 200
START = 1_508_112_000_000_000  # microseconds


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each store on the same events."""
    args = _arguments(argv)
    torch.set_num_threads(1)
    load_faiss("index").omp_set_num_threads(1)
    run = _served(args.users, args.items)
    events = _events(args.events * args.seconds, args.users, args.items)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        results: dict[str, Any] = {}
        for name in args.stores:
            with _opened(name, Path(folder)) as store:
                print(f"{store}: {args.seconds} s", flush=True)
                rec = Recommender(run, store=store)
                results |= {f"{what}_{name}": value for what, value in _measure(rec, store, events, args).items()}
    print(json.dumps(results))


def _served(users: int, items: int) -> SimpleNamespace:
    """What a recommender needs."""
    graph, vectors = made(users, items)
    tower, kind = Tower(vectors), IndexConfig(ef_construction=80)
    config = FusionConfig(index="faiss_hnsw", item_index=kind, user_index=kind)
    config = prepare(graph, tower, config, None, min(500, users))
    return SimpleNamespace(graph=graph, model=tower, fusion=config, learned=None)


def _events(n: int, users: int, items: int) -> np.ndarray:
    """int64 [n, 3]: user, item, timestamp, in the order in which they are sent."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(0, users, n), rng.integers(0, items, n), START + np.arange(n) * 100], 1)
    late = rng.random(n) < 0.1
    rows[late, 2] -= rng.integers(0, n * 100 + 1, int(late.sum()))
    again = np.flatnonzero(rng.random(n) < 0.1)
    rows[again] = rows[rng.integers(0, again + 1)]
    return rows


def _measure(rec: Recommender, store: Store, events: np.ndarray, args: argparse.Namespace) -> dict[str, Any]:
    observed: list[float] = []
    recalls: list[float] = []
    errors: list[str] = []
    users, items = rec.users.ids(np.arange(args.users)), rec.retriever.graph.items.ids(np.arange(args.items))
    keys = user_keys(users)
    known, done = _sorted_rows(events, item_keys(items)), threading.Event()
    rec.recommend(users[:1], k=K)  # what is made once is made

    def write(thread: int) -> None:
        mine = [events[at : at + BULK] for at in range(thread * BULK, len(events), THREADS * BULK)]
        begin = time.perf_counter()
        for number, bulk in enumerate(mine):
            due = begin + number * THREADS * BULK / args.events
            time.sleep(max(0.0, due - time.perf_counter()))
            who, what = users.take(pa.array(bulk[:, 0])), items.take(pa.array(bulk[:, 1]))
            when, start = bulk[:, 2].astype("datetime64[us]"), time.perf_counter()
            rec.observe(who, what, when)
            observed.append(time.perf_counter() - start)

    def ask() -> None:
        rng, begin = np.random.default_rng(1), time.perf_counter()
        while not done.is_set():
            time.sleep(max(0.0, begin + len(recalls) / args.recalls - time.perf_counter()))
            some, start = rng.integers(0, args.users, READ), time.perf_counter()
            lists = rec.recommend(users.take(pa.array(some[:1])), k=K)
            recalls.append(time.perf_counter() - start)
            if len(lists) != K or not _plausible(some, store.read([keys[user] for user in some]), known):
                errors.append("a short list, or a history that is out of order or has what nobody sent")

    seconds = _run([threading.Thread(target=write, args=(number,)) for number in range(THREADS)], ask, done)
    right = not errors and _complete(store, known, keys)
    return {
        "events_per_s": round(len(events) / seconds),
        "recalls_per_s": round(len(recalls) / seconds, 1),
        "p50_recall_ms": round(float(np.percentile(recalls, 50)) * 1e3, 2),
        "p99_recall_ms": round(float(np.percentile(recalls, 99)) * 1e3, 2),
        "p99_observe_ms": round(float(np.percentile(observed, 99)) * 1e3, 1),
        "right": right,
    }


def _run(writers: list[threading.Thread], read: Any, done: threading.Event) -> float:
    """Seconds until the writers were done, with the reader beside them."""
    reader, start = threading.Thread(target=read), time.perf_counter()
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    seconds = time.perf_counter() - start
    done.set()
    reader.join()
    return seconds


def _sorted_rows(events: np.ndarray, keys: np.ndarray) -> dict[int, list[tuple[int, int]]]:
    """The distinct (timestamp, key of the item) of each user, in order."""
    found: dict[int, list[tuple[int, int]]] = {}
    rows = np.stack([events[:, 0], events[:, 2], keys[events[:, 1]]], axis=1)
    for user, timestamp, item in np.unique(rows, axis=0).tolist():
        found.setdefault(user, []).append((timestamp, item))
    return found


def _rows(found: Ragged) -> list[list[tuple[int, int]]]:
    pairs, ends = list(zip(found.time.tolist(), found.items.tolist(), strict=True)), found.indptr.tolist()
    return [pairs[start:stop] for start, stop in zip(ends, ends[1:], strict=False)]


def _plausible(users: np.ndarray, found: Ragged, known: dict[int, list[tuple[int, int]]]) -> bool:
    rows = zip(users.tolist(), _rows(found), strict=True)
    return all(row == sorted(set(row)) and set(row) <= set(known.get(user, ())) for user, row in rows)


def _complete(store: Store, known: dict[int, list[tuple[int, int]]], keys: list[bytes]) -> bool:
    return _rows(store.read(keys)) == [known.get(user, [])[-SIZE:] for user in range(len(keys))]


@contextmanager
def _opened(name: str, folder: Path) -> Iterator[Store]:
    durable = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
    with LmdbStore(folder / "lmdb", size=SIZE) if name == "lmdb" else running(folder, SIZE, *durable) as store:
        yield store


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--events", type=int, default=10_000, help="events a second")
    parser.add_argument("--recalls", type=int, default=20, help="a second")
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the stores lie; the temporary folder")
    parser.add_argument("--stores", nargs="+", choices=["lmdb", "redis"], default=["lmdb", "redis"])
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
