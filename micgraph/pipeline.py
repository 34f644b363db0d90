"""The one place that wires the stages: train a named model on a graph, evaluate a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from micgraph import warm
from micgraph.assembly import assemble
from micgraph.baselines import EASE, ItemKNN, Popularity
from micgraph.evaluation import EvalData, Ranker, Result, evaluate_ranker, prepared, table
from micgraph.placing import agree, device_of, joined
from micgraph.presets import RunConfig, resolve, tell_ties
from micgraph.progress import progress_bar
from micgraph.ranks import Ranks
from micgraph.retrieval.rankers import FusedRanker, U2IRanker
from micgraph.retrieval.recommender import TRAIN_FIRST, Recommender
from micgraph.run import Run, load_learned, load_run
from micgraph.run_setup import prepare_directory
from micgraph.schema import ConfigError, InputError, did_you_mean
from micgraph.training import Progress, Trainer

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.graph.split import Holdout
    from micgraph.retrieval.fusion import FusionConfig

__all__ = ["Evaluation", "Run", "evaluate", "load_run", "train"]

_LOG = logging.getLogger(__name__)

BASELINES: dict[str, Any] = {"popularity": Popularity, "itemknn": ItemKNN, "ease": EASE}

VALIDATION_KS = (20, 50, 200, 500)
"""Lengths of the lists in validation; in a smaller catalogue lists end with it, under the same names."""
VALIDATION_METRICS = ("recall", "hr", "ndcg", "hit", "coverage")
"""What ``training.monitor`` can be, each with ``@`` and a length: every holdout has a value of these."""


def train(
    graph: RecGraph,
    model: str | None = None,
    validation: Holdout | EvalData | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    filter_seen: bool = True,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = True,
    warm_start: Run | str | Path | None = None,
) -> Run:
    """Train two towers on a graph. The caller's random numbers of torch stay as they are.

    Under torchrun, or where torch's process group exists, its processes train one model together: each encodes its
    share of every batch. The first one alone validates, writes, shows progress and calls ``on_epoch``.

    Args:
        graph: what :func:`micgraph.build` made of the training events.
        model: encoder and tasks, such as ``"gru4rec"``, ``"ican+micrec"``, ``"gru4rec+mic"`` or ``"ican+fea+sess"``;
            None takes them from ``config``, and ``"gru4rec"`` where that names no encoder.
        validation: held-out events that select the best epoch and fit a learned fusion; without them every epoch is
            run and the last is taken, and a learned fusion can only be that of ``warm_start``.
        config: settings that differ from the presets, nested, or the path of a YAML file.
        out: the run's directory, which several processes need and all must see. A run found there with the same
            settings is gone on from, and returned at once where it has ended; its ``training.epochs`` (where the rate
            is constant) and ``patience`` may grow, its ``fusion`` may change. None keeps the run in a temporary folder
            that goes with the :class:`Run`: keep it by :meth:`Run.save`.
        device: ``auto`` takes a GPU where there is one.
        filter_seen: whether validation leaves out what users have already clicked.
        on_epoch: receives each epoch's row of metrics.
        progress: show a progress bar where stderr is a terminal.
        warm_start: an earlier run, or its path, such as yesterday's for a graph that has today as well: training
            begins with its best weights, matched by external ids and values; what is new begins as the seed has it.
            Its settings are the defaults of ``model`` and ``config``, and nothing of the model but the dropout may
            differ. Epochs, the optimiser's moments and mining begin anew.

    Raises:
        ConfigError: an unknown name or setting, a model that contradicts the config, or settings that do not fit the
            graph, the validation, the run found in ``out`` or the one of ``warm_start``.
        ArtifactError: ``out`` holds something else than a run, or there is none where ``warm_start`` says.
        InputError: no graph, a validation that was prepared for another graph or is a whole split, or a
            ``warm_start`` whose graph has ids of another kind.
        LeakageError: validation targets are clicks of the graph.
        RankError: another process of the same training has ended.
    """
    _require(graph, "graph", "relations", "a RecGraph", "build one first: micgraph.build(log)")
    earlier = None if warm_start is None else warm.earlier_run(warm_start)
    config = config if earlier is None else warm.settings(earlier, model, config)
    resolved = resolve(model, config, graph.n_items)
    if earlier is not None:
        warm.check_model(earlier.config.model, resolved.model)
    data = None if validation is None else prepared(validation, graph)
    _check(resolved, graph, data, earlier)
    target = device_of(device)
    ranks = joined(target, out)
    with ranks.together(), torch.random.fork_rng([target] if target.type == "cuda" else []):
        agree(ranks, out, resolved, graph)
        run, objective, sampler = assemble(resolved, graph, target, out)
        run.origin = None if earlier is None else warm.inherit(objective, earlier, graph)
        tell_ties(resolved, config, graph)
        _prepare(run, ranks, None if data is None else _described(data, filter_seen))
        Trainer(
            objective,
            sampler,
            resolved.training,
            run.directory,
            validate=None if data is None else lambda: validate(run, data, filter_seen),
            on_epoch=on_epoch,
            progress=_bar if progress and ranks.first else lambda steps, title: steps,
            on_resume=_tell_resume,
            ranks=ranks,
        ).run()
        run.model.refresh()
        if resolved.fusion.fusion == "learned":
            _learn_fusion(run, data, filter_seen, ranks, earlier)
    return run


def _require(given: Any, argument: str, attribute: str, expected: str, remedy: str) -> None:
    """Refuse an argument of another kind, such as the log instead of the graph."""
    if not hasattr(given, attribute):
        raise InputError(argument, expected, f"a {type(given).__name__}", remedy)


def _check(config: RunConfig, graph: RecGraph, data: EvalData | None, earlier: Run | None) -> None:
    """Refuse before training what would fail only after it."""
    _check_monitor(config.training.monitor)
    fusion, micro, batch = config.fusion, config.training.micro_batch, config.sampling.batch_size
    if micro > batch:
        _LOG.warning("training.micro_batch=%d is above sampling.batch_size=%d: batches are not divided", micro, batch)
    if fusion.neighbors not in ("near", "follows", "ease", *graph.relations):
        remedy = "take another kind, or build the graph with the features or settings that make the relation"
        expected = f"near, follows, ease or a relation of the graph, {list(graph.relations)}"
        raise ConfigError("fusion.neighbors", expected, repr(fusion.neighbors), remedy)
    if fusion.fusion == "learned" and data is None and (earlier is None or earlier.learned is None):
        remedy = "pass validation=split.valid, or take fusion.fusion=mic"
        raise ConfigError("fusion.fusion", "validation data to fit a learned fusion on", "none", remedy)


def _prepare(run: Run, ranks: Ranks, validation: dict[str, Any] | None) -> None:
    """Write what a run's directory says from the start."""
    if ranks.first and prepare_directory(run, run.graph.fingerprint(), validation):
        _LOG.info("%s has no checkpoint yet: it begins anew (training.checkpoint_every makes more)", run.directory)
    ranks.told(None)  # whoever comes after finds the directory


def _described(data: EvalData, filter_seen: bool) -> dict[str, Any]:
    """What a run remembers of its validation."""
    return {"split": data.manifest.get("split"), "part": data.manifest.get("part"), "filter_seen": filter_seen}


def _learn_fusion(run: Run, data: EvalData | None, filter_seen: bool, ranks: Ranks, earlier: Run | None) -> None:
    """Fit the fusion once, or take the one that an ended run has; without data that of the run it began from."""
    run.learned = load_learned(run.directory)
    if run.learned is None and ranks.first:
        had = None if earlier is None else earlier.learned
        learned = had if data is None else Recommender(run).fit_fusion(data, filter_seen)
        assert learned is not None  # _check has seen to it
        run.keep_learned(learned)
    ranks.told(None)
    run.learned = load_learned(run.directory)


def validate(run: Run, data: EvalData, filter_seen: bool = True) -> dict[str, float]:
    """Metrics of a run's U2I lists on prepared data."""
    run.model.refresh()
    return evaluate_ranker(U2IRanker(run.model, run.graph, run.name), data, VALIDATION_KS, filter_seen).values


@dataclass(frozen=True)
class Evaluation:
    """Results of several rankers on one holdout; prints as a table.

    Attributes:
        results: by name, in the order of the table.
        columns: what the table shows.
    """

    results: dict[str, Result]
    columns: tuple[str, ...] | None = None

    def __getitem__(self, name: str) -> Result:
        if name not in self.results:
            raise InputError("name", f"one of {list(self.results)}", repr(name), "name a row of the table")
        return self.results[name]

    def __str__(self) -> str:
        rows = list(self.results.values())
        counts = [f"{value:,} {key}" for key, value in rows[0].counts.items() if value]
        return "\n".join([table(rows, self.columns), *counts])


def evaluate(
    run: Run,
    holdout: Holdout | EvalData,
    ks: Sequence[int] = (20, 50),
    baselines: Sequence[str] = (),
    filter_seen: bool = True,
    new_only: bool = False,
    columns: Sequence[str] | None = None,
    fusion: FusionConfig | Mapping[str, Any] | None = None,
    diversity: Literal["category", "tags"] = "category",
) -> Evaluation:
    """Judge a run's U2I lists and its fused lists on held-out clicks, beside reference rows.

    Args:
        run: a trained run.
        holdout: the test or validation part of the split that made the graph.
        ks: lengths at which lists are cut; beyond the catalogue a list simply ends, and keeps its metrics.
        baselines: some of ``popularity``, ``itemknn``, ``ease``, fitted on the run's graph.
        filter_seen: leave out what each user has already clicked.
        new_only: judge only clicks on items that are new to their user.
        columns: metrics of the printed table, such as ``recall@20``.
        fusion: how the channels are fused instead of by the run's config, or a mapping of the settings that differ.
        diversity: whether two items of a list differ by their ``category``, or when they share none of their ``tags``.

    Raises:
        ConfigError: no such baseline, or a fusion out of range.
        InputError: no run, a whole split instead of a part, data prepared for another graph, no such ``ks`` or no
            tags.
        LeakageError: held-out clicks are edges of the graph.
    """
    _require(run, "run", "model", "a trained run", TRAIN_FIRST)
    data = prepared(holdout, run.graph)
    rankers: list[Ranker] = [fit_baseline(name, run.graph) for name in baselines]
    rankers += [
        U2IRanker(run.model, run.graph, run.name),
        FusedRanker(Recommender(run, fusion), name=f"{run.name}, fused"),
    ]
    results = {r.name: evaluate_ranker(r, data, ks, filter_seen, new_only, diversity) for r in rankers}
    return Evaluation(results, None if columns is None else tuple(columns))


def fit_baseline(name: str, graph: RecGraph) -> Ranker:
    """A reference row fitted on a graph.

    Raises:
        ConfigError: no such baseline.
    """
    if name not in BASELINES:
        raise ConfigError("baselines", f"some of {sorted(BASELINES)}", repr(name), "name one of these")
    return BASELINES[name]().fit(graph)  # type: ignore[no-any-return]


def _check_monitor(name: str) -> None:
    known = [f"{metric}@{k}" for metric in VALIDATION_METRICS for k in VALIDATION_KS]
    if name not in known:
        remedy = did_you_mean(name, known, "name one of these, or leave it out")
        raise ConfigError("training.monitor", f"one of {known}", repr(name), remedy)


def _bar(steps: Iterable[int], title: str) -> Iterable[int]:
    return progress_bar(steps, desc=title, delay=0, mininterval=1.0)


def _tell_resume(state: Progress) -> None:
    _LOG.info("continuing after epoch %d, step %d", state.epoch, state.step)
