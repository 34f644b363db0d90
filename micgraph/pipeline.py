"""The one place that wires the stages: train a named model on a graph, evaluate a run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from micgraph import rng
from micgraph.evaluation import EvalData, evaluate_ranker, prepare
from micgraph.nn.towers import TwoTower
from micgraph.presets import RunConfig, resolve
from micgraph.retrieval.rankers import U2IRanker
from micgraph.run import SETUP, Run, load_run, load_settings, load_towers, save_setup
from micgraph.sampling.batch import BatchSampler
from micgraph.schema import ConfigError
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS
from micgraph.training import BEST, Trainer

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.graph.split import Holdout

__all__ = ["Run", "load_run", "train"]

VALIDATION_KS = (20, 50, 200)


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
    towers = make_towers(resolved, graph)
    directory = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="micgraph-"))
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
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
    data = prepare(validation, graph) if validation is not None and not isinstance(validation, EvalData) else validation
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
    ks = [k for k in VALIDATION_KS if k <= data.n_items] or [data.n_items]
    return evaluate_ranker(U2IRanker(run.model, run.name), data, ks, filter_seen).values


def _prepare_directory(directory: Path, config: RunConfig, graph: RecGraph, towers: TwoTower) -> None:
    """Write the setup of a new run, or check that the one found there is the same."""
    if not (directory / SETUP).exists():
        save_setup(directory, config, graph, towers)
        return
    import json
    from dataclasses import asdict

    saved, wanted = load_settings(directory)["config"], json.loads(json.dumps(asdict(config)))
    differing = [name for name in wanted if saved.get(name) != wanted[name]]
    if differing:
        raise ConfigError(
            "out",
            "a new directory, or a run with the same settings to go on from",
            f"{directory}, whose {', '.join(differing)} differ",
            "choose another directory or repeat the settings in its setup folder",
        )


def _bar(steps: Iterable[int], title: str) -> Iterable[int]:
    from tqdm.auto import tqdm

    return tqdm(steps, desc=title, leave=False, mininterval=1.0)
