"""Small trainings that several processes do together, and what starts these processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from micgraph.assembly import make_objective, make_towers
from micgraph.config import merge
from micgraph.presets import resolve
from micgraph.ranks import ALONE, Ranks, join
from micgraph.sampling.batch import BatchSampler
from micgraph.training import Trainer, Validate
from tests.toy import random_rows, toy_graph

CPU = torch.device("cpu")
ROWS = random_rows(n_users=40, n_items=20)
SMALL = {
    "model": {"dim": 8, "history": 5, "dropout": 0.0},
    "perturb": {"dropout": 0.0},
    "sampling": {"batch_size": 5},
    "tasks": {"matching": {"negatives": "uniform", "count": 16}},
}


def trainer(
    folder: Path, model: str, settings: dict, ranks: Ranks = ALONE, validate: Validate | None = None
) -> Trainer:
    """A trainer of a named model on a small graph; ``settings`` are those of ``micgraph.train``."""
    graph = toy_graph(ROWS, 20)
    config = resolve(model, merge(SMALL, settings), graph.n_items)
    objective = make_objective(config, make_towers(config, graph), graph)
    requires = [task.requires for task in objective.tasks.values()]
    reads, seed = objective.towers.reads, config.training.seed
    sampler = BatchSampler(graph, config.sampling, requires, config.model.history, seed, reads)
    return Trainer(objective, sampler, config.training, folder, validate, ranks=ranks)


def recorded(made: Trainer) -> list[float]:
    """The loss of every step from now on."""
    seen: list[float] = []
    made.objective.register_forward_hook(lambda module, given, out: seen.append(float(out[0].detach())))
    return seen


def steps_of(folder: Path, cases: dict[str, tuple[str, dict]], ranks: Ranks = ALONE) -> None:
    """Train each case to its end; the first process writes what came of it to NAME.json and NAME.safetensors."""
    for name, (model, settings) in cases.items():
        made = trainer(folder / name, model, settings, ranks)
        losses = recorded(made)
        made.run()
        if ranks.first:
            (folder / f"{name}.json").write_text(json.dumps(losses))
            save_file(
                {k: v.contiguous() for k, v in made.objective.state_dict().items()}, folder / f"{name}.safetensors"
            )


def killed_at(made: Trainer, epoch: int, step: int, note: Path) -> None:
    """Let this process be killed before it makes a batch, and note when."""
    batch = made.sampler.batch

    def dying(at_epoch: int, at_step: int, order: Any = None) -> Any:
        if (at_epoch, at_step) == (epoch, step):
            note.write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(at_epoch, at_step, order)

    made.sampler.batch = dying  # type: ignore[method-assign]


def together(size: int, work: Callable[..., None], *given: Any) -> list[tuple[int, str]]:
    """Run ``work(ranks, *given)`` in so many processes: the exit code of each and what it said in the end."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.together"])
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    said = [Path(given[0]) / f"said-{rank}.txt" for rank in range(size)]
    started = [context.Process(target=_one, args=(rank, size, port, said[rank], work, given)) for rank in range(size)]
    for process, one in zip(started, said, strict=True):
        one.unlink(missing_ok=True)
        process.start()
    for process in started:
        process.join(900)
    codes = [process.exitcode for process in started]
    for process in started:
        process.kill()
    return [(code, one.read_text() if one.exists() else "") for code, one in zip(codes, said, strict=True)]


def _one(rank: int, size: int, port: int, said: Path, work: Callable[..., None], given: tuple) -> None:
    names = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    torch.set_num_threads(1)
    os.fsync = lambda file: None  # nobody pulls the plug here
    ranks = join(CPU)
    try:
        with ranks.together():
            work(ranks, *given)
    except Exception as error:
        said.write_text(f"{type(error).__name__}: {error}")
        sys.exit(1)
