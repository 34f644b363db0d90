"""A new day of news: train anew, or go on from yesterday's weights with a quarter of the epochs (Globo).

    python examples/warm_start.py --raw PATH [--day 2017-10-05] [--share 20] [--seeds 3] [--epochs 8]

Yesterday's run has every click before ``--day``, today's graph that day's too, and the day after it is recommended for.
One in ``--share`` users is read, so that it takes minutes. Settings were written down and not tuned; no validation.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import micgraph as mg
from micgraph.datasets import globo
from micgraph.evaluation import EvalData, evaluate_ranker, prepare
from micgraph.retrieval.rankers import U2IRanker

MODEL = "gru4rec"
CONFIG: dict[str, Any] = {"model": {"dim": 64, "history": 30, "dropout": 0.1}, "training": {"lr": 2e-3}}
KS, NAME = (20, 50), "hit@50"


def main(argv: Sequence[str] | None = None) -> None:
    """Build both graphs, then for each seed train yesterday's run and today's three."""
    args = _arguments(argv)
    today = date.fromisoformat(args.day)
    with tempfile.TemporaryDirectory() as folder:
        log = globo(_fewer_users(Path(args.raw), args.share, Path(folder)))
        splits = [
            mg.split(log, "temporal", cut=str(cut), test="1d", valid=None) for cut in (today, today + timedelta(days=1))
        ]
        before, now = (mg.build(split.train) for split in splits)
        data = prepare(splits[1].test, now)
    print(f"yesterday: {before.summary()}\n\ntoday: {now.summary()}\n")
    found = [_rows(before, now, data, seed, args.epochs) for seed in range(args.seeds)]
    names = list(found[0])
    print(f"{len(data.clicks.items):,} clicks of the next day, seen items not filtered, {args.seeds} seeds: {NAME}\n")
    for name in names:
        hits, seconds = (np.array([rows[name][i] for rows in found]) for i in (0, 1))
        print(f"{name:<32} {hits.mean():.4f} ± {hits.std():.4f}   {seconds.mean():.0f} s   {np.round(hits, 4)}")
    print(json.dumps({name: round(float(np.mean([rows[name][0] for rows in found])), 4) for name in names}))


def _rows(
    before: mg.RecGraph, now: mg.RecGraph, data: EvalData, seed: int, epochs: int
) -> dict[str, tuple[float, float]]:
    """The metric on the next day, and processor seconds of training, by row."""
    few = max(1, epochs // 4)
    old = _trained(before, seed, epochs)[0]
    rows = {
        f"from scratch, {epochs} epochs": _trained(now, seed, epochs),
        f"from scratch, {few} epochs": _trained(now, seed, few),
        f"warm, {few} epochs": _trained(now, seed, few, warm_start=old),
    }
    print(rows[f"warm, {few} epochs"][0])
    rankers = {name: U2IRanker(run.model, now, name) for name, (run, _) in rows.items()}
    found = {name: (evaluate_ranker(ranker, data, KS, False)[NAME], rows[name][1]) for name, ranker in rankers.items()}
    print(f"seed {seed}: {json.dumps(found)}\n", flush=True)
    return found


def _trained(graph: mg.RecGraph, seed: int, epochs: int, warm_start: mg.Run | None = None) -> tuple[mg.Run, float]:
    config = {**CONFIG, "training": {**CONFIG["training"], "epochs": epochs, "seed": seed}}
    started = time.process_time()
    run = mg.train(graph, MODEL, config=config, progress=False, warm_start=warm_start)
    return run, time.process_time() - started


def _fewer_users(raw: Path, share: int, folder: Path) -> Path:
    """The file's clicks of one in ``share`` users, in the folder."""
    clicks = pq.read_table(raw / "clicks.parquet" if raw.is_dir() else raw)
    user = clicks["user_id"].to_numpy()
    pq.write_table(clicks.filter(pa.array(user % share == 0)), folder / "clicks.parquet")
    return folder / "clicks.parquet"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", required=True, help="clicks.parquet, or the folder that holds it")
    parser.add_argument("--day", default="2017-10-05", help="the new day, which today's graph ends with")
    parser.add_argument("--share", type=int, default=20, help="one in so many users is read")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8, help="from scratch; a quarter of them warm")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
