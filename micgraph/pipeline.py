"""The one place that wires the stages: train a named model on a graph, evaluate a run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from micgraph import rng
from micgraph.baselines import EASE, ItemKNN, Popularity
from micgraph.evaluation import EvalData, Ranker, Result, evaluate_ranker, prepare, table
from micgraph.nn.towers import TwoTower
from micgraph.presets import RunConfig, resolve
from micgraph.retrieval.rankers import FusedRanker, U2IRanker
from micgraph.retrieval.recommender import Recommender
from micgraph.run import GRAPH, SETUP, Run, load_run, load_settings, same_graph, save_setup
from micgraph.sampling.batch import BatchSampler
from micgraph.schema import ConfigError, InputError, did_you_mean
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS
from micgraph.training import Trainer

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.graph.split import Holdout

__all__ = ["Evaluation", "Run", "evaluate", "load_run", "train"]

BASELINES: dict[str, Any] = {"popularity": Popularity, "itemknn": ItemKNN, "ease": EASE}

VALIDATION_KS = (20, 50, 200)
"""Lengths of the lists in validation; in a smaller catalogue lists end with it, under the same names."""
VALIDATION_METRICS = ("recall", "hr", "ndcg", "hit", "coverage")
"""What ``training.monitor`` can be, each with ``@`` and a length: every holdout has a value of these."""


def train(
    graph: RecGraph,
    model: str | None = "gru4rec",
    validation: Holdout | EvalData | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    filter_seen: bool = True,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    progress: bool = True,
) -> Run:
    """Train two towers on a graph.

    Args:
        graph: what :func:`micgraph.build` made of the training events.
        model: encoder and tasks, such as ``"gru4rec"``, ``"ican+micrec"``, ``"gru4rec+mic"`` or ``"ican+fea+sess"``;
            None takes them from ``config``.
        validation: held-out events that select the best epoch; without them every epoch is run and the last is taken.
        config: settings that differ from the presets, nested, or the path of a YAML file.
        out: the run's directory. A run found there with the same settings is gone on from, and returned at once
            where it has ended. None keeps the run in a temporary folder: save what you want of it.
        device: ``auto`` takes a GPU where there is one.
        filter_seen: whether validation leaves out what users have already clicked.
        on_epoch: receives each epoch's row of metrics.
        progress: show a progress bar.

    Raises:
        ConfigError: an unknown name or setting, or settings that do not fit the graph or the run found in ``out``.
        LeakageError: validation targets are clicks of the graph.
    """
    resolved = resolve(model, config, graph.n_items)
    _check_monitor(resolved.training.monitor)
    data = prepare(validation, graph) if validation is not None and not isinstance(validation, EvalData) else validation
    towers = make_towers(resolved, graph)
    directory = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="micgraph-"))
    target = _device(device)
    local = graph.to(target)
    objective = make_objective(resolved, towers, local).to(target)
    sampler = BatchSampler(
        local,
        resolved.sampling,
        [task.requires for task in objective.tasks.values()],  # type: ignore[misc]
        resolved.model.history,
        resolved.training.seed,
    )
    _prepare_directory(directory, resolved, graph, towers)
    run = Run(directory, resolved, local, towers)
    trainer = Trainer(
        objective,
        sampler,
        resolved.training,
        directory,
        validate=None if data is None else lambda: validate(run, data, filter_seen),
        on_epoch=on_epoch,
        progress=_bar if progress else lambda steps, title: steps,
    )
    trainer.run()
    run.model.refresh()
    return run


def make_towers(config: RunConfig, graph: RecGraph) -> TwoTower:
    """The towers with the first weights that the seed gives.

    Raises:
        ConfigError: the encoder cannot score every position but the sampling asks for it, or fields are missing.
    """
    torch.manual_seed(rng.make_key(config.training.seed, "weights"))
    towers = TwoTower(config.model, graph.item_fields, graph.user_fields)
    if config.sampling.samples == "positions" and not towers.encoder.every_position:
        raise ConfigError(
            "sampling.samples",
            f"'clicks' or 'users' with {config.model.encoder}, which scores a history as a whole",
            "'positions'",
            "change sampling.samples, or take gru4rec",
        )
    return towers


def make_objective(config: RunConfig, towers: TwoTower, graph: RecGraph) -> Objective:
    """The towers with their tasks."""
    tasks = {name: TASKS[name].make(config.task_config(name), towers) for name in config.tasks}
    return Objective(towers, tasks, graph.item_fields, graph.user_fields, config.perturb)


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
) -> Evaluation:
    """Judge a run's U2I lists and its fused lists on held-out clicks, beside reference rows.

    Args:
        run: a trained run.
        holdout: the test or validation part of the split that made the graph.
        ks: lengths at which lists are cut.
        baselines: some of ``popularity``, ``itemknn``, ``ease``, fitted on the run's graph.
        filter_seen: leave out what each user has already clicked.
        new_only: judge only clicks on items that are new to their user.
        columns: metrics of the printed table, such as ``recall@20``.

    Raises:
        ConfigError: no such baseline.
        LeakageError: held-out clicks are edges of the graph.
    """
    data = holdout if isinstance(holdout, EvalData) else prepare(holdout, run.graph)
    rankers: list[Ranker] = [fit_baseline(name, run.graph) for name in baselines]
    rankers += [
        U2IRanker(run.model, run.graph, run.name),
        FusedRanker(Recommender(run), name=f"{run.name}, fused"),
    ]
    results = {r.name: evaluate_ranker(r, data, ks, filter_seen, new_only) for r in rankers}
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


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch raises either, by the way in which it was built
        got = f"{name!r} ({str(error).splitlines()[0]})"
        raise ConfigError("device", "auto, cpu or a device that torch finds", got, "choose another device") from error


def _prepare_directory(directory: Path, config: RunConfig, graph: RecGraph, towers: TwoTower) -> None:
    """Write the setup of a new run, or check that the one found there is the same."""
    if not (directory / SETUP).exists():
        save_setup(directory, config, graph, towers)
        return
    saved, wanted = load_settings(directory)["config"], json.loads(json.dumps(asdict(config)))
    differing = [name for name in wanted if saved.get(name) != wanted[name]]
    differing += [] if same_graph(type(graph).load(directory / GRAPH), graph) else ["graph"]
    if differing:
        raise ConfigError(
            "out",
            "a new directory, or a run with the same settings and graph to go on from",
            f"{directory}, whose {', '.join(differing)} differ",
            "choose another directory or repeat the settings in its setup folder",
        )


def _bar(steps: Iterable[int], title: str) -> Iterable[int]:
    from tqdm.auto import tqdm

    return tqdm(steps, desc=title, leave=False, mininterval=1.0)
