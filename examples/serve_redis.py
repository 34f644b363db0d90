"""A day of live traffic against a real Redis: what live clicks and hourly refreshes are worth, and what requests cost.

    python examples/serve_redis.py --raw PATH [--share 20] [--requests 5000] [--seed 0] [--out runs/serve_redis]

The graph has the clicks of Globo before 2017-10-16 12:00 UTC, and a model is trained on it once. Then the next twelve
hours of clicks are replayed in the order of time, and before each click of a random sample the service is asked for 200
articles; it is a HIT if the clicked one is among them. Nobody is shown what he has read: 1.3% of the clicks are second
ones on an article, and are misses here. Three services answer the same requests:

- frozen: knows what was clicked before 12:00, and learns nothing.
- live: is told of every click (``observe``, kept in Redis), and each five minutes of the articles that were clicked for
  the first time (``add_items``). The log says nothing of articles that nobody has clicked, so nobody can be shown them.
- refresh: live, and at each full hour the hour's clicks are appended to the graph, the model is trained on from its
  weights, and a recommender of both is swapped in.

Whoever a service knows nothing of gets what was clicked most in the last six hours of its graph. Redis is started here,
on a free loopback port (Debian's package redis-server; ``pip install 'micgraph[serve,cpu]'``). One in ``--share`` users
is read; graphs and runs stay in ``--out``, and a second call goes on from them. Settings were written down, not tuned.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from redis_server import redis_server
from tqdm.auto import tqdm
from traffic import Ints, Replay, Service, Traffic, replay

import micgraph as mg
from micgraph import artifact

CUT, HOUR, TICK = 1_508_155_200_000, 3_600_000, 300_000  # milliseconds; 2017-10-16 12:00 UTC
HOURS, K = 12, 200
COLUMNS = ["user_id", "session_id", "click_article_id", "click_timestamp"]
MODEL = "youtube_dnn"
CONFIG: dict[str, Any] = {
    "model": {"dim": 64, "history": 30, "dropout": 0.1},
    "sampling": {"batch_size": 512},
    "training": {"epochs": 3, "lr": 2e-3},
    "tasks": {"matching": {"negatives": "popularity", "count": 1024}},
    "fusion": {"index": "faiss_hnsw", "neighbors": "co_occurs"},
}
STAGES = {
    "tower": "user tower",
    "search": "T1, FAISS",
    "store": "T2, store",
    "fusion": "T3, fusion",
    "request": "whole request",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Build, train, replay three times, report."""
    args = _arguments(argv)
    folder = Path(args.out) / f"share-{args.share}"
    clicks = _clicks(Path(args.raw), args.share)
    graph = _graph(folder / "graph", _between(clicks, 0, CUT))
    print(graph.summary())
    run = mg.train(graph, MODEL, config=CONFIG, out=folder / "run")
    traffic = Traffic.of(_between(clicks, 0, CUT + HOURS * HOUR))
    window = traffic.between(CUT, CUT + HOURS * HOUR)
    number = np.arange(window.start, window.stop)
    chosen = np.random.default_rng(args.seed).permutation(number)[: args.requests]
    asked: Ints = np.sort(chosen)
    print(f"\n{len(number):,} clicks in {HOURS} hours, {len(asked):,} requests\n", flush=True)
    with redis_server() as url:
        found = _replays(run, traffic, asked, clicks, folder, url)
    _report(found, traffic, asked, graph)


def _replays(run: mg.Run, traffic: Traffic, asked: Ints, clicks: pa.Table, folder: Path, url: str) -> dict[str, Replay]:
    """Each service on the same clicks, the live ones with Redis."""
    found = {
        "frozen": replay(Service(mg.Recommender(run), traffic, CUT, TICK, K, live=False), traffic, asked, "frozen")
    }
    for name in ("live", "refresh"):
        with mg.RedisStore(url, prefix=name) as store:
            hourly = Hourly(folder, clicks, run, store) if name == "refresh" else None
            service = Service(mg.Recommender(run, store=store), traffic, CUT, TICK, K, refresh=hourly)
            found[name] = replay(service, traffic, asked, name)
        print(f"{name}: {service.added:,} new articles were added", flush=True)
    return found


class Hourly:
    """At each full hour: its clicks into the graph, one epoch from the last weights, a recommender of both."""

    def __init__(self, folder: Path, clicks: pa.Table, run: mg.Run, store: mg.RedisStore) -> None:
        self._folder, self._clicks, self._run, self._store = folder, clicks, run, store
        self._until, self._done = CUT, 0

    def __call__(self, now: int) -> mg.Recommender | None:
        if (now - CUT) % HOUR:
            return None
        clicks = _between(self._clicks, self._until, now)
        self._until = now
        if not len(clicks):
            return None
        started = time.perf_counter()
        graph = self._appended(clicks)
        appended = time.perf_counter()
        out, config = self._folder / f"refreshed-{self._done:02}", {"training": {"epochs": 1}}
        self._run = mg.train(graph, config=config, out=out, warm_start=self._run, progress=False)
        trained = time.perf_counter()
        spent = f"graph {appended - started:.1f} s, training {trained - appended:.1f} s"
        tqdm.write(f"hour {(now - CUT) // HOUR}: {len(clicks):,} clicks, {spent}")
        return mg.Recommender(self._run, store=self._store)

    def _appended(self, clicks: pa.Table) -> mg.RecGraph:
        """The graph with these clicks too; an earlier call of the example may have left it."""
        path = self._folder / "graph"
        self._done += 1
        had = artifact.versions(path)
        return mg.RecGraph.load(had[self._done]) if len(had) > self._done else mg.append(path, _log(clicks))


def _clicks(raw: Path, share: int) -> pa.Table:
    """Globo's clicks of one in ``share`` users."""
    clicks = pq.read_table(raw / "clicks.parquet" if raw.is_dir() else raw, columns=COLUMNS)
    return clicks.filter(pa.array(clicks["user_id"].to_numpy() % share == 0))


def _between(clicks: pa.Table, start: int, stop: int) -> pa.Table:
    """The clicks at ``start`` or later, and before ``stop``."""
    at = clicks["click_timestamp"]
    return clicks.filter(pc.and_(pc.greater_equal(at, start), pc.less(at, stop)))


def _log(clicks: pa.Table) -> mg.Log:
    names = {"item_id": "click_article_id", "timestamp": "click_timestamp"}
    return mg.read_log(clicks, columns=names, time_unit="ms")


def _graph(path: Path, clicks: pa.Table) -> mg.RecGraph:
    """The graph of these clicks: the first version of what is at ``path``, or a new one."""
    if not artifact.exists(path):
        mg.build(_log(clicks)).save(path)
    return mg.RecGraph.load(artifact.versions(path)[0])


def _report(found: dict[str, Replay], traffic: Traffic, asked: Ints, graph: mg.RecGraph) -> None:
    """HIT by kind of click, milliseconds by stage, and both as JSON."""
    hits = {name: one.hit for name, one in found.items()}
    hits |= {"popular 6h": found["frozen"].popular, "popular 6h, refreshed": found["refresh"].popular}
    known = graph.items.index(pa.array(traffic.item[asked])) >= 0
    people, first = np.unique(traffic.user, return_index=True)
    before = traffic.time[first[np.searchsorted(people, traffic.user[asked])]] < traffic.time[asked]
    parts = {"all": np.ones(len(asked), bool), "clicked before": before, "known article": known, "new article": ~known}
    print(f"\n{f'HIT@{K}':<24}" + "".join(f"{f'{name} ({part.sum():,})':>24}" for name, part in parts.items()))
    for name, hit in hits.items():
        print(f"{name:<24}" + "".join(f"{_share(hit[part]):>24}" for part in parts.values()))
    spent = {stage: np.array([row[stage] for row in found["live"].seconds]) * 1e3 for stage in STAGES}
    title = f"ms of {len(found['live'].seconds):,} requests, live"
    print(f"\n{title:<32}" + "".join(f"{point:>8}" for point in ("p50", "p95", "p99")))
    summary: dict[str, Any] = {f"hit@{K}_{name}": _share(hit) for name, hit in hits.items()}
    summary |= {f"hit@{K}_{name}_clicked_before": _share(hit[before]) for name, hit in hits.items()}
    for stage, title in STAGES.items():
        points = {p: round(float(np.percentile(spent[stage], p)), 2) for p in (50, 95, 99)}
        print(f"{title:<32}" + "".join(f"{value:>8.2f}" for value in points.values()))
        summary |= {f"p{p}_ms_{stage}": value for p, value in points.items()}
    print(json.dumps(summary))


def _share(hit: np.ndarray[Any, Any]) -> float | None:
    return round(float(hit.mean()), 4) if len(hit) else None


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", required=True, help="clicks.parquet, or the folder that holds it")
    parser.add_argument("--share", type=int, default=20, help="one in so many users is read")
    parser.add_argument("--requests", type=int, default=5000, help="clicks before which a list is asked for")
    parser.add_argument("--seed", type=int, default=0, help="of the sample of clicks")
    parser.add_argument("--out", default="runs/serve_redis", help="where the graphs and runs go")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
