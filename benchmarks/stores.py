"""Whether live stores keep up: events in bulk from four threads, reads of a request beside them, and nothing lost.

    python benchmarks/stores.py [--seconds 60] [--events 10000] [--reads 20] [--users 20000] [--stores lmdb redis]

Four threads append bulks of at most 100 events, ``--events`` a second together; a fifth one reads ``--reads`` times a
second what a request reads: the history of a user (30 clicks), then those of 40 others (60 clicks). A tenth of the
events comes twice and a tenth comes late. Whatever is read is checked (in order, distinct, of the input), and in the
end all histories, against the input. The disk of ``--folder`` counts; Redis is started here, with ``appendfsync
always``. The last line is JSON: events a second that were acknowledged, milliseconds of a request's two reads (median
and 99%), of an append (99%), and whether all was right.
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
from typing import Any

import numpy as np
from redis_server import running

from micgraph.knn import Ragged
from micgraph.stores.contract import Store
from micgraph.stores.keys import user_keys
from micgraph.stores.lmdb_store import LmdbStore

THREADS, BULK, SIZE, OWN, SIMILAR = 4, 100, 60, 30, 40
START = 1_508_112_000_000_000  # microseconds


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each store on the same events."""
    args = _arguments(argv)
    events = _events(args.events * args.seconds, args.users)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        results: dict[str, Any] = {}
        for name in args.stores:
            with _opened(name, Path(folder)) as store:
                print(f"{store}: {args.seconds} s")
                results |= {f"{what}_{name}": value for what, value in _measure(store, events, args).items()}
    print(json.dumps(results))


def _events(n: int, users: int) -> np.ndarray:
    """int64 [n, 3]: user, item, timestamp, in the order in which they are sent."""
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(0, users, n), rng.integers(0, 100_000, n), START + np.arange(n) * 100], 1)
    late = rng.random(n) < 0.1
    rows[late, 2] -= rng.integers(0, n * 100 + 1, int(late.sum()))
    again = np.flatnonzero(rng.random(n) < 0.1)
    rows[again] = rows[rng.integers(0, again + 1)]
    return rows


def _measure(store: Store, events: np.ndarray, args: argparse.Namespace) -> dict[str, Any]:
    appended: list[float] = []
    reads: list[float] = []
    errors: list[str] = []
    known, done = _sorted_rows(events), threading.Event()

    def write(thread: int) -> None:
        mine = [events[at : at + BULK] for at in range(thread * BULK, len(events), THREADS * BULK)]
        begin = time.perf_counter()
        for number, bulk in enumerate(mine):
            due = begin + number * THREADS * BULK / args.events
            time.sleep(max(0.0, due - time.perf_counter()))
            users, start = user_keys(bulk[:, 0]), time.perf_counter()
            store.append(users, bulk[:, 1], bulk[:, 2])
            appended.append(time.perf_counter() - start)

    def read() -> None:
        rng, begin = np.random.default_rng(1), time.perf_counter()
        while not done.is_set():
            time.sleep(max(0.0, begin + len(reads) / args.reads - time.perf_counter()))
            users = rng.integers(0, args.users, 1 + SIMILAR)
            keys, start = user_keys(users), time.perf_counter()
            own, similar = store.read(keys[:1], OWN), store.read(keys[1:])
            reads.append(time.perf_counter() - start)
            if not (_plausible(users[:1], own, known) and _plausible(users[1:], similar, known)):
                errors.append("a read that is out of order, or of events that nobody sent")

    seconds = _run([threading.Thread(target=write, args=(number,)) for number in range(THREADS)], read, done)
    right = not errors and _complete(store, known, args.users)
    return {
        "events_per_s": round(len(events) / seconds),
        "reads_per_s": round(len(reads) / seconds, 1),
        "p50_read_ms": round(float(np.percentile(reads, 50)) * 1e3, 2),
        "p99_read_ms": round(float(np.percentile(reads, 99)) * 1e3, 2),
        "p99_append_ms": round(float(np.percentile(appended, 99)) * 1e3, 1),
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


def _sorted_rows(events: np.ndarray) -> dict[int, list[tuple[int, int]]]:
    """The distinct (timestamp, item) of each user, in order."""
    found: dict[int, list[tuple[int, int]]] = {}
    for user, item, timestamp in np.unique(events[:, [0, 2, 1]], axis=0)[:, [0, 2, 1]].tolist():
        found.setdefault(user, []).append((timestamp, item))
    return found


def _rows(found: Ragged) -> list[list[tuple[int, int]]]:
    pairs, ends = list(zip(found.time.tolist(), found.items.tolist(), strict=True)), found.indptr.tolist()
    return [pairs[start:stop] for start, stop in zip(ends, ends[1:], strict=False)]


def _plausible(users: np.ndarray, found: Ragged, known: dict[int, list[tuple[int, int]]]) -> bool:
    rows = zip(users.tolist(), _rows(found), strict=True)
    return all(row == sorted(set(row)) and set(row) <= set(known.get(user, ())) for user, row in rows)


def _complete(store: Store, known: dict[int, list[tuple[int, int]]], users: int) -> bool:
    rows = _rows(store.read(user_keys(np.arange(users))))
    return rows == [known.get(user, [])[-SIZE:] for user in range(users)]


@contextmanager
def _opened(name: str, folder: Path) -> Iterator[Store]:
    durable = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
    with LmdbStore(folder / "lmdb", size=SIZE) if name == "lmdb" else running(folder, SIZE, *durable) as store:
        yield store


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--events", type=int, default=10_000, help="events a second")
    parser.add_argument("--reads", type=int, default=20, help="requests a second")
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, default=None, help="where the stores lie; the temporary folder")
    parser.add_argument("--stores", nargs="+", choices=["lmdb", "redis"], default=["lmdb", "redis"])
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
