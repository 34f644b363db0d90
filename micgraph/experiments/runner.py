"""Filling a table: settings are frozen on validation data, then every row is trained once a seed and judged once."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from micgraph.config import merge, nested
from micgraph.evaluation import DECILES, EvalData, Ranker, Result, evaluate_ranker
from micgraph.experiments.bench import Bench
from micgraph.experiments.record import Line, Record, place, stored
from micgraph.experiments.row import Row, View
from micgraph.graph.times import SECOND, duration
from micgraph.pipeline import BASELINES, train
from micgraph.retrieval.learned import LearnedFusion
from micgraph.retrieval.rankers import FusedRanker, U2IRanker
from micgraph.retrieval.recommender import Recommender
from micgraph.run import Run
from micgraph.schema import CO_OCCURS, ConfigError, InputError
from micgraph.tuning import tune, write_json

FROZEN, TUNING, RUNS = "frozen", "tuning", "runs"
TUNING_SEED = 1000
"""Seed of every run that settings are chosen by: none of those that the table is made of."""
PER_USER = ("recall", "hr", "ndcg", "hit", "diversity", *DECILES)
"""Metrics of which a result keeps the per-user numbers."""


@dataclass(frozen=True)
class Plan:
    """How a table is filled.

    Attributes:
        out: its directory; what is found there is gone on from. Several processes may fill different rows of one.
        seeds: how many times each row is trained.
        overrides: settings of every row, over its own.
        trials: runs, the defaults included, among which a row's settings are chosen; 1 takes the defaults.
        epochs: at most so many, while settings are chosen and afterwards; None is each row's own.
        device: ``auto`` takes a GPU where there is one.
        keep_runs: leave the trained runs in the directory.
    """

    out: Path
    seeds: int = 1
    overrides: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 1
    epochs: int | None = None
    device: str = "auto"
    keep_runs: bool = False


@dataclass(frozen=True)
class Frozen:
    """What was chosen for a row on validation data, before the test was looked at.

    Attributes:
        setup: what it was chosen on.
        settings: dotted setting -> value, over the row's own.
        epochs: of the best run; None where validation selects the epoch of every run.
        fusion: settings of the fusion; None where each run chooses its own.
        learned: of the fitted fusion, where that was chosen.
        score: of the best run on validation data.
    """

    setup: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    fusion: dict[str, Any] | None = None
    learned: dict[str, Any] | None = None
    score: float | None = None


Measure = Callable[[Run, Bench], dict[str, float]]
Tell = Callable[[str], None]


def fill(
    rows: Sequence[Row],
    bench: Bench,
    plan: Plan,
    tell: Tell = lambda line: None,
    measure: Measure | None = None,
) -> dict[str, str]:
    """Train and judge what is not there yet.

    Args:
        rows: of the table, or some of them.
        bench: the data.
        plan: how often, with which budget, into which directory.
        tell: receives a line for each result.
        measure: further figures of a trained run, kept in :attr:`Record.extra`.

    Returns:
        Row -> why it cannot be had here.

    Raises:
        ConfigError: unknown settings, or results in the directory that were made with others.
    """
    missing = {}
    for row in rows:
        if row.missing is not None:
            missing[row.name] = row.missing
        elif row.baseline is not None:
            reason = _judge_baseline(row, bench, plan, tell)
            missing |= {} if reason is None else {row.name: reason}
        else:
            for seed in range(plan.seeds):
                _judge_model(row, bench, plan, seed, tell, measure)
    return missing


def _judge_baseline(row: Row, bench: Bench, plan: Plan, tell: Tell) -> str | None:
    """Fit and judge a reference row; the reason where its method refuses data of this size."""
    path, setup = place(plan.out, row.slug, 0), {**bench.describe(), "config": dict(row.config)}
    if row.baseline not in BASELINES:
        raise ConfigError("baseline", f"one of {sorted(BASELINES)}", repr(row.baseline), "name one of these")
    if stored(path, setup) is not None:
        return None
    begun = time.perf_counter()
    try:
        ranker = BASELINES[row.baseline](**row.config).fit(bench.graph)
    except InputError as error:
        return str(error)
    seconds = time.perf_counter() - begun
    line = _line(ranker, bench)
    Record(row.name, 0, setup, {row.name: line}, seconds).save(path)
    tell(f"{row.name}: {_told(line, bench)}")
    return None


def _judge_model(row: Row, bench: Bench, plan: Plan, seed: int, tell: Tell, measure: Measure | None) -> None:
    path = place(plan.out, row.slug, seed)
    config = _config(row, bench, plan)
    setup = {**bench.describe(), "model": row.model, "config": config, "trials": plan.trials}
    setup["views"] = [asdict(view) for view in row.views]
    if stored(path, setup) is not None:
        return
    frozen = _freeze(row, bench, plan, config, tell)
    chosen = merge(config, nested(frozen.settings), {"training": {"seed": seed}})
    if frozen.epochs is not None:
        chosen = merge(chosen, {"training": {"epochs": frozen.epochs}})
    folder = plan.out / RUNS / f"{row.slug}-seed{seed}"
    run = train(bench.graph, row.model, bench.valid, chosen, folder, plan.device, bench.filter_seen, progress=False)
    fusion = _fusion_of(row, run, bench, frozen)
    lines = {row.name + view.label: _line(_ranker(run, view, fusion, row), bench) for view in row.views}
    Record(
        row.name,
        seed,
        setup,
        lines,
        sum(epoch["seconds"] for epoch in run.metrics),
        sum(p.numel() for p in run.towers.parameters()),
        len(run.metrics),
        None if measure is None else measure(run, bench),
    ).save(path)
    for name, line in lines.items():
        tell(f"{name}, seed {seed}: {_told(line, bench)}")
    if not plan.keep_runs:
        shutil.rmtree(folder)


def _config(row: Row, bench: Bench, plan: Plan) -> dict[str, Any]:
    """A row's settings before anything is tuned."""
    epochs = {} if plan.epochs is None else {"training": {"epochs": plan.epochs}}
    return merge({"training": {"monitor": bench.monitor}}, row.config, plan.overrides, epochs)


def _freeze(row: Row, bench: Bench, plan: Plan, config: dict[str, Any], tell: Tell) -> Frozen:
    """What is chosen on validation data: read where it was chosen before, so that no later look changes it."""
    path = plan.out / FROZEN / f"{row.slug}.json"
    graph, valid = bench.develop
    setup = {"graph": graph.fingerprint(), "config": config, "trials": plan.trials, "search": dict(row.search)}
    setup = json.loads(json.dumps(setup))
    if path.exists():
        found = Frozen(**json.loads(path.read_text(encoding="utf-8")))
        if found.setup != setup:
            expected = "the data and settings that the row was frozen with"
            raise ConfigError(
                "out", expected, f"others than in {path}", "choose another directory, or remove that file"
            )
        return found
    if plan.trials <= 1 and bench.valid is not None:
        frozen = Frozen(setup)  # every run selects its epoch, and its fusion, on validation data
    else:
        frozen = _tuned(row, bench, plan, config, setup)
        tell(f"{row.name}: frozen {frozen.settings}, {frozen.epochs} epochs, {bench.monitor} {frozen.score:.4f}")
    write_json(path, asdict(frozen))
    return frozen


def _tuned(row: Row, bench: Bench, plan: Plan, config: dict[str, Any], setup: dict[str, Any]) -> Frozen:
    graph, valid = bench.develop
    tuned = tune(
        graph,
        row.model,
        valid,
        row.search,
        plan.trials if row.search else 1,
        plan.out / TUNING / row.slug,
        merge(config, {"training": {"seed": TUNING_SEED}}),
        plan.device,
        bench.filter_seen,
        progress=False,
    )
    settings = dict(tuned.best.settings) if tuned.best.number else {}
    if bench.valid is not None:
        return Frozen(setup, settings, score=tuned.best.score)
    run = tuned.run()
    fusion = _choose_fusion(row, run, valid, bench)
    learned = None if run.learned is None else asdict(run.learned)
    return Frozen(setup, settings, tuned.best.epoch, fusion, learned, tuned.best.score)


def _fusion_of(row: Row, run: Run, bench: Bench, frozen: Frozen) -> dict[str, Any]:
    """How a trained run's channels are fused."""
    if frozen.fusion is None and bench.valid is not None:
        return _choose_fusion(row, run, bench.valid, bench)
    if frozen.learned is not None:
        run.learned = LearnedFusion(**frozen.learned)
    return frozen.fusion or {}


def _choose_fusion(row: Row, run: Run, valid: EvalData, bench: Bench) -> dict[str, Any]:
    """The fusion with the best validation figure; the learned one is fitted first, and stays with the run."""
    options = [
        dict(one) for one in row.fusions if one.get("neighbors") != CO_OCCURS or CO_OCCURS in run.graph.relations
    ]
    if len(options) < 2 or all(view.channels is None for view in row.views):
        return options[0] if options else {}
    found: list[tuple[float, dict[str, Any], LearnedFusion | None]] = []
    for option in options:
        recommender = Recommender(run, {**option, "fusion": "mic"})
        learned = recommender.fit_fusion(valid, bench.filter_seen) if option.get("fusion") == "learned" else None
        k = int(bench.monitor.partition("@")[2])
        result = evaluate_ranker(FusedRanker(recommender), valid, (k,), bench.filter_seen)
        found.append((result[bench.monitor], option, learned))
    best = max(found, key=lambda one: one[0])
    run.learned = best[2]
    return best[1]


def _ranker(run: Run, view: View, fusion: Mapping[str, Any], row: Row) -> Ranker:
    name = row.name + view.label
    if view.channels is not None:
        return FusedRanker(Recommender(run, {**fusion, **view.fusion}), view.channels, name)
    if view.recent is None:
        return U2IRanker(run.model, run.graph, name)
    since = run.graph.last_time - duration(view.recent, "recent") // SECOND
    fresh = run.graph.popularity(since=since).nonzero()[:, 0]
    return U2IRanker(run.model, run.graph, name, candidates=fresh)


def _line(ranker: Ranker, bench: Bench) -> Line:
    result: Result = evaluate_ranker(ranker, bench.test, bench.ks, bench.filter_seen)
    return Line.of(result, PER_USER)


def _told(line: Line, bench: Bench) -> str:
    names = [name for k in bench.ks for name in (f"recall@{k}", f"hit@{k}")]
    return ", ".join(f"{name} {line.values[name]:.4f}" for name in names if name in line.values)
