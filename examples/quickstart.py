"""The main job on real data: grocery baskets of Complete Journey, from the log to recalls with their reasons.

Trains a base model, the same with MicRec's and with MIC's tasks on everything bought before December 2017, and asks
each for products that the household had never bought before, judged by what it bought in December. Popularity,
ItemKNN and EASE stand beside them, and an HTML page compares the models. Settings were chosen on November (``--tune``
trains on what lies before it and judges there). The catalogue is the products with 50 purchases in the whole year,
December included: what is held out decides with what can be recommended, to every row of the table alike.

    python examples/quickstart.py [--out runs/quickstart] [--seed 0] [--tune]
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import recall_against_coverage

import micgraph as mg
from micgraph.datasets import complete_journey
from micgraph.evaluation import EvalData, Result, evaluate_ranker, prepare, table
from micgraph.pipeline import fit_baseline
from micgraph.retrieval.rankers import FusedRanker, U2IRanker

KS = (50, 200, 500)
COLUMNS = ["hit@50", "hit@200", "hit@500", "recall@50", "coverage@50", "diversity@50"]
BASE = {
    "model": {"dim": 64, "history": 200},
    "sampling": {"samples": "users", "batch_size": 512},
    "training": {"epochs": 90, "lr": 0.003},
}


def _soft(weight: float) -> dict[str, Any]:
    """A MicRec task on directions instead of inner products."""
    return {"weight": weight, "cosine": True, "tau": 0.2}


MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("mic_dnn", {}),
    "base + MicRec": ("mic_dnn+micrec", {"tasks": {"fea": _soft(0.02), "sem": _soft(0.02), "sess": _soft(0.1)}}),
    "base + MIC": (
        "mic_dnn+mic",
        {"tasks": {name: {"tau": 0.5} for name in ("ui", "uu", "ii")}, "fusion": {"basic": "score"}},
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Read, split, build, train, evaluate, recommend."""
    args = _arguments(argv)
    started = time.perf_counter()
    log = complete_journey(min_purchases=50)
    cut = "2017-11-01" if args.tune else "2017-12-01"
    split = mg.split(log, "temporal", cut=cut, test="30d" if args.tune else "31d", valid=None)
    print(split)
    graph = mg.build(split.train)
    print(graph.summary())
    data = prepare(split.test, graph)
    results = [_judge(fit_baseline(name, graph), data) for name in ("popularity", "itemknn", "ease")]
    runs = {}
    for name, (model, settings) in MODELS.items():
        rec, rows = _train(graph, data, name, model, settings, args)
        runs[name] = Path(args.out) / model
        results += rows
    columns = [c for c in COLUMNS if c in results[0].values]
    print(f"\nProducts new to the household, {cut} and after ({time.perf_counter() - started:.0f} s so far):\n")
    print(table(results, columns))
    figure = recall_against_coverage(results, "hit@200", "coverage@50", Path(args.out) / "recall_coverage.png")
    print(f"\nfigure: {figure}\n")
    _show_recommendations(rec, graph)
    page = mg.report(runs, split.test, Path(args.out) / "report.html", new_only=True)
    print(f"the models on one page: {page}\n")
    hits = {result.name: round(result["hit@200"], 4) for result in results}
    print(json.dumps({"seconds": round(time.perf_counter() - started), **hits}))


def _train(
    graph: mg.RecGraph, data: EvalData, name: str, model: str, settings: dict[str, Any], args: argparse.Namespace
) -> tuple[mg.Recommender, list[Result]]:
    """A model and its rows: the U2I search alone, and the three channels fused."""
    config = {**BASE, **settings, "training": {**BASE["training"], "seed": args.seed}}
    out = Path(args.out) / model
    shutil.rmtree(out, ignore_errors=True)
    run = mg.train(graph, model, config=config, out=out)
    rec = mg.Recommender(run)
    return rec, [
        _judge(U2IRanker(run.model, graph, name), data),
        _judge(FusedRanker(rec, name=f"{name}, fused"), data),
    ]


def _judge(ranker: Any, data: EvalData) -> Result:
    return evaluate_ranker(ranker, data, KS, filter_seen=True, new_only=True)


def _show_recommendations(rec: mg.Recommender, graph: mg.RecGraph) -> None:
    """Five new products for three households, with names, channels and triggers."""
    titles = graph.titles(range(graph.n_items))
    names = dict(zip(graph.items.ids(range(graph.n_items)).to_pylist(), titles, strict=True))
    reasons = {f"item:{item}": f"bought {title}" for item, title in names.items()}
    households = [graph.n_users * quarter // 4 for quarter in (1, 2, 3)]
    frame = rec.recommend(graph.users.ids(households).to_pylist(), k=5)
    print("Recommendations of the last model for three households:\n")
    for row in frame.itertuples():
        trigger = row.trigger if isinstance(row.trigger, str) else ""  # nothing but U2I found it
        reason = reasons.get(trigger) or trigger.replace("user:", "like household ")
        print(f"  household {row.user_id}  {row.rank}. {names[row.item_id][:44]:<45} {row.channels:<12} {reason}")
    print()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/quickstart", help="where runs, the figure and the page go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tune", action="store_true", help="judge on November instead of December")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
