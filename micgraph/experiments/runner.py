"""Filling a table: settings are frozen on validation data, then every row is trained once a seed and judged once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from micgraph.config import leaves, merge, nested
from micgraph.evaluation import DECILES, Ranker, evaluate_ranker
from micgraph.experiments.bench import Bench
from micgraph.experiments.frozen import Frozen, best_reference, kept
from micgraph.experiments.fusing import Fusing, choose_fusion, choose_own
from micgraph.experiments.record import SEEN_TOO, Line, Record, place, refuse_others, stored
from micgraph.experiments.row import Row, View
from micgraph.graph.times import SECOND, duration
from micgraph.pipeline import BASELINES, train
from micgraph.presets import resolve
from micgraph.retrieval.rankers import FusedRanker, U2IRanker
from micgraph.run import Run
from micgraph.schema import ConfigError, InputError
from micgraph.tuning import tune

TUNING, RUNS = "tuning", "runs"
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
        trials: runs, the defaults included, among which a row's settings are chosen; 1 takes the defaults. With more
            than 1 a reference row's arguments are chosen among all that its ``search`` names.
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

    @property
    def budget(self) -> dict[str, Any]:
        """What a stored result of a trained row must agree with."""
        return {"trials": self.trials, "epochs": self.epochs, "overrides": dict(self.overrides)}


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
        ConfigError: unknown settings, results in the directory that were made with others, an override of what makes
            a row what it is, or a cosine schedule where the number of epochs is frozen.
    """
    refuse_others(plan.out, {**bench.describe(), **plan.budget})
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
    if row.search:
        setup |= {"trials": plan.trials, "search": dict(row.search)}
    if row.baseline not in BASELINES:
        raise ConfigError("baseline", f"one of {sorted(BASELINES)}", repr(row.baseline), "name one of these")
    if stored(path, setup) is not None:
        return None
    try:
        settings = {**row.config, **_reference_settings(row, bench, plan, tell)}
        begun = time.perf_counter()
        ranker = BASELINES[row.baseline](**settings).fit(bench.graph)
    except InputError as error:
        return str(error)
    seconds = time.perf_counter() - begun
    line = _line(ranker, bench)
    Record(row.name, 0, setup, {row.name: line}, seconds).save(path)
    tell(f"{row.name}: {_told(line, bench)}")
    return None


def _reference_settings(row: Row, bench: Bench, plan: Plan, tell: Tell) -> dict[str, Any]:
    """Arguments of a reference row that validation chose, where anything is chosen."""
    if plan.trials <= 1 or not row.search:
        return {}
    how = {"baseline": row.baseline, "config": dict(row.config), "search": dict(row.search)}
    frozen = kept(plan.out, row, bench, how, lambda setup: best_reference(row, bench, setup))
    tell(f"{row.name}: frozen {frozen.settings}, {bench.monitor} {frozen.score or 0.0:.4f}")
    return frozen.settings


def _judge_model(row: Row, bench: Bench, plan: Plan, seed: int, tell: Tell, measure: Measure | None) -> None:
    path = place(plan.out, row.slug, seed)
    config = _config(row, bench, plan)
    chosen_by: dict[str, Any] = {"model": row.model, "config": config, "resolved": _resolved(row, config, bench)}
    chosen_by |= {"search": dict(row.search), "fusions": [dict(one) for one in row.fusions]}
    if row.own_options:
        chosen_by |= {"own_fusions": row.own_options, "fusion_users": bench.fusion_users}
    setup = {**bench.describe(), **plan.budget, **chosen_by, "views": [_described(view) for view in row.views]}
    setup["measure"] = None if measure is None else f"{measure.__module__}.{measure.__qualname__}"
    if stored(path, setup) is not None:
        return
    how = {**chosen_by, "trials": plan.trials}
    frozen = kept(plan.out, row, bench, how, lambda setup: _freeze(row, bench, plan, config, setup, tell))
    chosen = merge(config, nested(frozen.settings), {"training": {"seed": seed}})
    if frozen.epochs is not None:
        chosen = merge(chosen, {"training": {"epochs": frozen.epochs}})
    folder = plan.out / RUNS / f"{row.slug}-seed{seed}"
    run = train(bench.graph, row.model, bench.valid, chosen, folder, plan.device, bench.filter_seen, progress=False)
    fusings = _fusings(row, run, bench, frozen)
    lines = {row.name + v.label: _line(_ranker(run, v, fusings[v.label], row), bench) for v in row.views}
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
    """A row's settings before anything is tuned.

    Raises:
        ConfigError: an override of what makes the row what it is.
    """
    for name in (*leaves(plan.overrides), *row.search):
        taken = [
            own for own in leaves(row.fixed) if f"{own}.".startswith(f"{name}.") or f"{name}.".startswith(f"{own}.")
        ]
        if taken:
            got = f"another value of {name}, which would make it another row"
            expected = f"{taken[0]} as the row {row.name!r} sets it"
            raise ConfigError(name, expected, got, "leave the setting out, or leave the row out with --rows")
    epochs = {} if plan.epochs is None else {"training": {"epochs": plan.epochs}}
    return merge({"training": {"monitor": bench.monitor}}, row.config, plan.overrides, epochs, row.fixed)


def _resolved(row: Row, config: Mapping[str, Any], bench: Bench) -> dict[str, Any]:
    """All settings that a row has before anything is tuned, those of presets and defaults too: they may change.

    Raises:
        ConfigError: the learning rate falls towards an end that is not the one it was chosen with.
    """
    found = resolve(row.model, config, bench.graph.n_items)
    name = "training.schedule"
    if bench.valid is None and (found.training.schedule != "constant" or name in row.search):
        expected = "constant where the number of epochs is frozen before the model is trained"
        remedy = "leave the schedule out: stopped earlier, a cosine is another curve than the one that was validated"
        got = found.training.schedule if name not in row.search else "a search of it"
        raise ConfigError(name, expected, got, remedy)
    return asdict(found)


def _freeze(row: Row, bench: Bench, plan: Plan, config: dict[str, Any], setup: dict[str, Any], tell: Tell) -> Frozen:
    """Choose on validation data."""
    if plan.trials <= 1 and bench.valid is not None:
        return Frozen(setup)  # every run selects its epoch, and its fusion, on validation data
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
    epochs = fusion = learned = None
    views: dict[str, dict[str, Any]] = {}
    if bench.valid is None:
        run, epochs = tuned.run(), tuned.best.epoch
        fusion = choose_fusion(row, run, valid, bench)
        learned = None if run.learned is None else asdict(run.learned)
        views = {label: asdict(choose_own(own, run, valid, bench)) for label, own in row.own_options.items()}
    tell(f"{row.name}: frozen {settings}, {tuned.best.epoch} epochs, {bench.monitor} {tuned.best.score:.4f}")
    return Frozen(setup, settings, epochs, fusion, learned, tuned.best.score, views)


def _fusings(row: Row, run: Run, bench: Bench, frozen: Frozen) -> dict[str, Fusing]:
    """How a trained run's channels are fused, by the label of the view."""
    if frozen.fusion is None and bench.valid is not None:
        fusion = choose_fusion(row, run, bench.valid, bench)
        learned = None if run.learned is None else asdict(run.learned)
        own = {label: choose_own(given, run, bench.valid, bench) for label, given in row.own_options.items()}
    else:
        fusion, learned = frozen.fusion or {}, frozen.learned
        own = {label: Fusing(**found) for label, found in frozen.views.items()}
    return {view.label: own.get(view.label, Fusing({**fusion, **view.fusion}, learned)) for view in row.views}


def _described(view: View) -> dict[str, Any]:
    """A view as stored results name it; what it chooses among is named beside it, where it chooses."""
    return {name: value for name, value in asdict(view).items() if name != "fusions"}


def _ranker(run: Run, view: View, fusing: Fusing, row: Row) -> Ranker:
    name = row.name + view.label
    if view.channels is not None:
        return FusedRanker(fusing.recommender(run), view.channels, name)
    if view.recent is None:
        return U2IRanker(run.model, run.graph, name)
    since = run.graph.last_time - duration(view.recent, "recent") // SECOND
    fresh = run.graph.popularity(since=since).nonzero()[:, 0]
    return U2IRanker(run.model, run.graph, name, candidates=fresh)


def _line(ranker: Ranker, bench: Bench) -> Line:
    result = evaluate_ranker(ranker, bench.test, bench.ks, bench.filter_seen)
    line = Line.of(result, PER_USER)
    if not bench.seen_too:
        return line
    beside = evaluate_ranker(ranker, bench.test, bench.ks, filter_seen=False).values
    return replace(line, values=line.values | {name + SEEN_TOO: value for name, value in beside.items()})


def _told(line: Line, bench: Bench) -> str:
    names = [name for k in bench.ks for name in (f"recall@{k}", f"hit@{k}")]
    return ", ".join(f"{name} {line.values[name]:.4f}" for name in names if name in line.values)
