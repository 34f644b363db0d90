"""News clicks of Globo under MicRec's protocol (temporal): train before a cut, recommend for the 12 hours after it.

    python examples/globo.py --raw PATH [--models gru4rec,gru4rec+fea+sess] [--fused] [--tune]

There are no titles and no categories, so MicRec's semantic task has nothing to work on here. News grow old within
hours, so each model also has a row whose candidates are what was clicked in the last hours before the cut, as
popularity's are.
Settings were written down and not tuned; ``--tune`` judges on the 12 hours before the test window, to tune them there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import micgraph as mg
from micgraph.baselines import ItemKNN, Popularity
from micgraph.datasets import globo
from micgraph.evaluation import EvalData, Result, evaluate_ranker, prepare, table
from micgraph.retrieval.rankers import FusedRanker, U2IRanker

KS = (50, 100, 200, 500)
COLUMNS = [*(f"hit@{k}" for k in KS), *(f"hit_known@{k}" for k in KS), "coverage@500"]
FRESH = "6h"
CONFIG: dict[str, Any] = {
    "model": {"dim": 64, "history": 30, "dropout": 0.1},
    "sampling": {"batch_size": 512},
    "training": {"epochs": 3, "lr": 2e-3},
    "tasks": {"matching": {"negatives": "popularity", "count": 1024}},
}


def main(argv: Sequence[str] | None = None) -> None:
    """Split, build, train each model, evaluate on all clicks of the window."""
    args = _arguments(argv)
    log = globo(args.raw)
    started = time.perf_counter()
    cut = "2017-10-16 00:00" if args.tune else "2017-10-16 12:00"
    split = mg.split(log, "temporal", cut=cut, test="12h", valid=None)
    print(split)
    graph = mg.build(split.train)
    seconds = time.perf_counter() - started
    print(f"{graph.summary()}\nsplit and graph in {seconds:.1f} s\n")
    data = prepare(split.test, graph)
    rankers = [Popularity(window="6h"), Popularity(), ItemKNN()]
    results = [_judge(baseline.fit(graph), data) for baseline in rankers]
    fresh = graph.popularity(since=graph.last_time - int(FRESH.removesuffix("h")) * 3600).nonzero()[:, 0]
    for model in args.models.split(","):
        out = Path(args.out) / model
        shutil.rmtree(out, ignore_errors=True)
        run = mg.train(graph, model, config=CONFIG, out=out, on_epoch=_report)
        results.append(_judge(U2IRanker(run.model, graph, model), data))
        results.append(_judge(U2IRanker(run.model, graph, f"{model}, last {FRESH}", candidates=fresh), data))
        if args.fused:
            results.append(_judge(FusedRanker(mg.Recommender(run), name=f"{model}, fused"), data))
    print(f"\n{len(data.clicks.items):,} clicks from {cut} on, seen items not filtered:\n")
    print(table(results, COLUMNS))
    print(json.dumps({"graph_seconds": round(seconds, 1), **{r.name: round(r["hit@200"], 4) for r in results}}))


def _judge(ranker: Any, data: EvalData) -> Result:
    return evaluate_ranker(ranker, data, KS, filter_seen=False)


def _report(row: dict[str, float]) -> None:
    print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", required=True, help="clicks.parquet, or the folder that holds it")
    parser.add_argument("--models", default="gru4rec,gru4rec+fea+sess")
    parser.add_argument("--out", default="runs/globo", help="where runs go")
    parser.add_argument("--fused", action="store_true", help="also judge the three channels fused (minutes more)")
    parser.add_argument("--tune", action="store_true", help="judge on the 12 hours before the test window")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
