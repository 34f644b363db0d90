"""What the tasks cost: steps of MicRec on ICAN and of MIC on GRU4Rec beside steps of the same base without tasks.

    python benchmarks/tasks.py [--raw PATH] [--steps 15]

Both on MovieLens-1M (``user_holdout``), with a sampled softmax: ICAN on batches of 4,096 clicks with MicRec's printed
settings and 50 negatives, GRU4Rec on batches of 1,024 users, one random cut each, with MIC's and one perturbed view. A
base and the same with its tasks take turns, step for step, so that whatever else the machine does meets both. A step is
what the training loop does: make the batch, forward, backward, clip, update. Medians over the steps; the last line is
JSON with both ratios.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import micgraph as mg
from micgraph.assembly import make_objective, make_towers
from micgraph.datasets import movielens_1m
from micgraph.presets import resolve
from micgraph.sampling.batch import BatchSampler
from micgraph.schema import CLICKS
from micgraph.tasks.objective import Objective

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
WARM_UP = 3
EPOCH = 1  # counted from 0: the first that uses what was mined
PARTS = ("batch", "forward", "backward", "update", "mining")
SAMPLED = {"negatives": "popularity", "count": 512}
ICAN = {"sampling": {"samples": "clicks", "batch_size": 4096}}
GRU4REC = {
    "model": {"dim": 128, "history": 50, "dropout": 0.2},
    "sampling": {"samples": "clicks", "batch_size": 1024},
}
PAIRS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "micrec": ("ican", "ican+micrec", ICAN),
    "mic": ("gru4rec", "gru4rec+mic", GRU4REC),
}


@dataclass
class Contestant:
    """A model in training: everything that one step needs."""

    name: str
    objective: Objective
    sampler: BatchSampler
    optimizer: torch.optim.Optimizer
    order: torch.Tensor
    mining: float

    @classmethod
    def make(cls, name: str, config: dict[str, Any], graph: mg.RecGraph) -> Contestant:
        """The named encoder and tasks on a graph."""
        resolved = resolve(name, {**config, "tasks": {"matching": SAMPLED}}, graph.n_items)
        objective = make_objective(resolved, make_towers(resolved, graph), graph)
        requires: list[Any] = [task.requires for task in objective.tasks.values()]
        sampler = BatchSampler(graph, resolved.sampling, requires, resolved.model.history)
        optimizer = torch.optim.AdamW(objective.parameters(), resolved.training.lr)
        begun = time.perf_counter()
        objective.begin_epoch(EPOCH, graph.relation(CLICKS), resolved.training.seed)
        mining = (time.perf_counter() - begun) / sampler.steps
        return cls(name, objective.train(), sampler, optimizer, sampler.order(EPOCH), mining)

    def step(self, number: int) -> dict[str, float]:
        """Seconds of the parts of one step, by name."""
        marks = [time.perf_counter()]
        batch = self.sampler.batch(EPOCH, number, self.order)
        marks.append(time.perf_counter())
        loss, _ = self.objective(batch)
        marks.append(time.perf_counter())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        marks.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), 5.0)
        self.optimizer.step()
        marks.append(time.perf_counter())
        return dict(zip(PARTS, [*np.diff(marks), self.mining], strict=True))


def main(argv: Sequence[str] | None = None) -> None:
    """Time both pairs and print a table and the ratios."""
    args = _arguments(argv)
    graph = mg.build(mg.split(movielens_1m(args.raw), "user_holdout").train)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads of torch {torch.__version__}, no GPU")
    print(f"{'ms, medians':<14}" + "".join(f"{name:>9}" for name in ("step", *PARTS)))
    ratios = {}
    for key, (base, tasks, config) in PAIRS.items():
        pair = [Contestant.make(name, config, graph) for name in (base, tasks)]
        times = _take_turns(pair, args.steps)
        ratios[f"{key}_step_ratio"] = round(times[1] / times[0], 3)
    print(json.dumps(ratios))


def _take_turns(pair: list[Contestant], steps: int) -> list[float]:
    """Median seconds a step of each."""
    rows: list[list[dict[str, float]]] = [[], []]
    for number in range(WARM_UP + steps):
        for at in (0, 1) if number % 2 else (1, 0):
            rows[at].append(pair[at].step(number))
    medians = []
    for one, taken in zip(pair, rows, strict=True):
        kept = taken[WARM_UP:]
        whole = float(np.median([sum(row.values()) for row in kept]))
        parts = [np.median([row[name] for row in kept]) for name in kept[0]]
        print(f"{one.name:<14}" + "".join(f"{1000 * seconds:>9.1f}" for seconds in (whole, *parts)), flush=True)
        medians.append(whole)
    return medians


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", default=DATA / "ml-1m", help="folder with ratings.dat, movies.dat and users.dat")
    parser.add_argument("--steps", type=int, default=15, help="timed steps of each model")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
