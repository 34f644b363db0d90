"""A day of live traffic against a real Redis: what live clicks and hourly refreshes are worth, and what requests cost.

    python examples/serve_redis.py --raw PATH [--share 20] [--requests 5000] [--seed 0] [--out runs/serve_redis]

The graph has the clicks of Globo before 2017-10-16 12:00 UTC, and a model is trained on it once. Then the next twelve
hours of clicks are replayed in the order of time, and before each click of a random sample the service is asked for 200
articles; it is a HIT if the clicked one is among them. Nobody is shown what he has read: 1.3% of the clicks are second
ones on an article, and are misses here. Three services answer the same requests:

- frozen: knows what was clicked before 12:00, and learns nothing.
- live: is told of every click (``observe``, kept in Redis), and each five minutes of the articles that were clicked for
  the first time (``add_items``). The log says nothing of articles that nobody has clicked, so nobody can be shown them.
- refresh: live, and at each full hour ``mg.refresh`` takes the hour's clicks into the graph and trains on for an epoch,
  and the new version is swapped in (``reload``).

Whoever a service knows nothing of gets what was clicked most in the last six hours of its graph, as the rows
``popular_6h`` give to everybody. Redis is started here, on a free loopback port (Debian's package redis-server; ``pip
install 'micgraph[serve,cpu]'``). One in ``--share`` users is read; the graph and the run stay in ``--out`` for the next
call. Of the model's settings none was tuned; the fusion was chosen of four on the twelve hours before the cut, see
docs/serving.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scratch_redis import redis_server
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
    # What news live by: the last clicks of many similar users, and how often these have an article (Eq. 3, and next to
    # nothing else). A new article, whose id the model does not know, has no better claim.
    "fusion": {
        "index": "faiss_hnsw",
        "neighbors": "co_occurs",
        "m1": 200,
        "m2": 10,
        "lambda_mic": 1000.0,
        "count_scale": "log",
    },
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
    mg.train(graph, MODEL, config=CONFIG, out=folder / "run")
    traffic = Traffic.of(_between(clicks, 0, CUT + HOURS * HOUR))
    window = traffic.between(CUT, CUT + HOURS * HOUR)
    number = np.arange(window.start, window.stop)
    chosen = np.random.default_rng(args.seed).permutation(number)[: args.requests]
    asked: Ints = np.sort(chosen)
    if not len(asked):
        raise SystemExit("there is no click to ask before: pass a smaller --share, or more --requests")
    print(f"\n{len(number):,} clicks in {HOURS} hours, {len(asked):,} requests\n", flush=True)
    found = _replays(folder / "run", traffic, asked, clicks)
    _report(found, traffic, asked, graph)


def _replays(run: Path, traffic: Traffic, asked: Ints, clicks: pa.Table) -> dict[str, Replay]:
    """Each service on the same clicks, the live ones with Redis; the run stays as it is."""
    frozen = Service(mg.Recommender(mg.load_run(run)), traffic, CUT, TICK, K, live=False)
    found = {"frozen": replay(frozen, traffic, asked, "frozen")}
    with redis_server() as url, tempfile.TemporaryDirectory(dir=run.parent) as folder:
        copied = Path(shutil.copytree(run, Path(folder) / "run"))
        for name, hourly in (("live", None), ("refresh", Hourly(copied, clicks))):
            with mg.RedisStore(url, prefix=name) as store:
                recommender = mg.Recommender(mg.load_run(run), store=store)
                service = Service(recommender, traffic, CUT, TICK, K, refresh=hourly)
                found[name] = replay(service, traffic, asked, name)
            strangers = len(asked) - len(found[name].seconds)
            print(f"{name}: {service.added:,} new articles were added, {strangers:,} requests of unknown people")
    return found


class Hourly:
    """At each full hour its clicks into the run, one epoch from its weights, and a version to swap in."""

    def __init__(self, run: Path, clicks: pa.Table) -> None:
        self._run, self._clicks, self._until = run, clicks, CUT

    def __call__(self, now: int) -> Path | None:
        if (now - CUT) % HOUR:
            return None
        clicks = _between(self._clicks, self._until, now)
        self._until = now
        if not len(clicks):
            return None
        made = mg.refresh(self._run, _log(clicks), progress=False)
        spent = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in made.seconds.items())
        tqdm.write(f"hour {(now - CUT) // HOUR}: {len(clicks):,} clicks; seconds: {spent}")
        return made.serving


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
    """The graph of these clicks, which an earlier call may have left at ``path``."""
    if not artifact.exists(path):
        mg.build(_log(clicks)).save(path)
    return mg.RecGraph.load(path)


def _report(found: dict[str, Replay], traffic: Traffic, asked: Ints, graph: mg.RecGraph) -> None:
    """HIT by kind of click, milliseconds by stage, and both as JSON."""
    hits = {name: one.hit for name, one in found.items()}
    hits |= {"popular_6h": found["frozen"].popular, "popular_6h_refreshed": found["refresh"].popular}
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
    summary: dict[str, Any] = {"requests": len(asked), "clicked_before": int(before.sum())}
    summary |= {f"hit@{K}_{name}": _share(hit) for name, hit in hits.items()}
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
    parser.add_argument("--out", default="runs/serve_redis", help="where the graph and the run go")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
