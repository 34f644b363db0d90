"""MovieLens-1M under MIC's protocol (user_holdout): train on some users, recommend to others from their history.

    python examples/movielens.py --raw PATH --model gru4rec --seeds 1 [--out runs/movielens] [--set training.epochs=20]

Prints popularity and EASE beside the model, with seen items filtered (the headline) and without, then one JSON line.
Sessions of this data rest on timestamps that may be partly interpolated, depending on the copy.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import micgraph as mg
from micgraph.config import dotted, merge
from micgraph.datasets import movielens_1m
from micgraph.evaluation import Result, evaluate_ranker, prepare, table
from micgraph.pipeline import fit_baseline
from micgraph.retrieval.rankers import FusedRanker, U2IRanker

KS = (20, 50)
COLUMNS = [f"{metric}@{k}" for metric in ("recall", "hr", "ndcg", "ndcg_hits", "coverage", "diversity") for k in KS]


def main(argv: Sequence[str] | None = None) -> None:
    """Split, build, train once a seed, evaluate."""
    args = _arguments(argv)
    split = mg.split(movielens_1m(args.raw), "user_holdout", seed=args.split_seed)
    print(split)
    graph = mg.build(split.train)
    print(graph.summary())
    data = prepare(split.test, graph)
    rankers = [fit_baseline(name, graph) for name in ("popularity", "itemknn", "ease")]
    for seed in range(args.seeds):
        config = merge(dotted(args.set), {"training": {"seed": seed}})
        out = Path(args.out) / f"{args.model}-seed{seed}"
        run = mg.train(graph, args.model, split.valid, config, out, on_epoch=_report)
        rankers += [U2IRanker(run.model, graph, run.name), FusedRanker(mg.Recommender(run), name=f"{run.name}, fused")]
    for filter_seen in (False, True):
        results = [evaluate_ranker(ranker, data, KS, filter_seen) for ranker in rankers]
        print(f"\nTest users, seen items {'filtered' if filter_seen else 'not filtered'}:\n")
        print(table(results, COLUMNS))
    print(json.dumps(_summary(results, run.name)))


def _summary(results: list[Result], model: str) -> dict[str, float]:
    def mean(name: str, metric: str) -> float:
        return round(float(np.mean([r[metric] for r in results if r.name == name])), 4)

    return {
        "recall@20": mean(model, "recall@20"),
        "recall@50": mean(model, "recall@50"),
        "fused_recall@20": mean(f"{model}, fused", "recall@20"),
        "fused_recall@50": mean(f"{model}, fused", "recall@50"),
        "ease_recall@50": mean("ease", "recall@50"),
        "popularity_recall@50": mean("popularity", "recall@50"),
    }


def _report(row: dict[str, float]) -> None:
    shown = ("epoch", "seconds", "loss", "valid/recall@20", "valid/recall@50")
    print("  ".join(f"{name} {row[name]:.4g}" for name in shown if name in row), flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", required=True, help="folder with ratings.dat, movies.dat and users.dat")
    parser.add_argument("--model", default="gru4rec", help="encoder and tasks, such as gru4rec+mic")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--split-seed", type=int, default=1230)
    parser.add_argument("--out", default="runs/movielens", help="where runs go; a run found there is gone on from")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, repeatable")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
