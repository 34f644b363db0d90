"""Everything that the training loop needs, made of a configuration and a graph."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from micgraph import rng
from micgraph.nn.towers import TwoTower
from micgraph.presets import RunConfig
from micgraph.run import Run
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.context import surroundings
from micgraph.schema import ConfigError
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS, make_mining

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph


def assemble(
    config: RunConfig, graph: RecGraph, device: torch.device, out: str | Path | None
) -> tuple[Run, Objective, BatchSampler]:
    """Everything that the loop needs, on its device; writes nothing, but makes the folder of a temporary run."""
    towers = make_towers(config, graph)
    local = graph.to(device)
    objective = make_objective(config, towers, local).to(device)
    sampler = BatchSampler(
        local,
        config.sampling,
        [task.requires for task in objective.tasks.values()],  # type: ignore[misc]
        config.model.history,
        config.training.seed,
        towers.reads,
        gaps=config.model.time_gaps,
    )
    if out is not None:
        return Run(Path(out), config, local, towers), objective, sampler
    run = Run(Path(tempfile.mkdtemp(prefix="micgraph-")), config, local, towers)
    weakref.finalize(run, shutil.rmtree, run.directory, ignore_errors=True)
    return run, objective, sampler


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
    tasks = {name: TASKS[name].make(config.task_config(name), towers, graph.item_fields) for name in config.tasks}
    mining = make_mining(config.mining, tasks.values(), graph.n_users + graph.n_items)
    return Objective(towers, tasks, graph.item_fields, graph.user_fields, config.perturb, mining, surroundings(graph))
