"""The frame of gpu.py: sections with a time budget each, of which none can lose the others' results."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from micgraph.assembly import make_objective, make_towers
from micgraph.graph.recgraph import RecGraph
from micgraph.presets import resolve
from micgraph.sampling.batch import BatchSampler
from micgraph.tasks.objective import Objective


@dataclass
class Bench:
    """What sections measure with, and what they have found.

    Attributes:
        device: what is measured.
        small: toy sizes.
        graphs: by name, on the CPU; ``local`` are the same on the device.
        found: measurements by section and name.
        failures: section -> what went wrong.
        left_out: what the time budgets have left out, or the device's memory.
        bandwidth: bytes a second that a large copy reads and writes; ``flops`` float32 operations a second; nan until
            they have been measured.
    """

    device: torch.device
    small: bool
    graphs: dict[str, RecGraph]
    local: dict[str, RecGraph] = field(default_factory=dict)
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    bandwidth: float = math.nan
    flops: float = math.nan
    section: str = ""
    until: float = 0.0

    @property
    def cuda(self) -> bool:
        """Whether a GPU is measured."""
        return self.device.type == "cuda"

    @property
    def graph(self) -> RecGraph:
        """The graph that models are trained on: the first one, on the CPU."""
        return next(iter(self.graphs.values()))

    def run(self, name: str, section: Callable[[Bench], None], budget: float) -> None:
        """Run a section; what it raises is written down, and the next one goes on."""
        self.section, self.found[name] = name, {}
        begun = time.perf_counter()
        self.until = begun + budget
        try:
            section(self)
        except Exception as error:  # whatever it is, the other sections are still to be measured
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.failures[name] = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
            print(f"  FAILED {self.failures[name]}", flush=True)
        self.tell("section's seconds", round(time.perf_counter() - begun, 1))

    def tell(self, what: str, value: Any, note: str = "") -> None:
        """Write a measurement down, and print it; what is no number is None, since JSON has none."""
        value = None if isinstance(value, float) and math.isnan(value) else value
        self.found[self.section][what] = value
        shown = f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
        print(f"  {self.section:<12} {what:<58} {shown:>14}  {note}".rstrip(), flush=True)

    def due(self, what: str) -> bool:
        """Whether there is time left in the section; if not, ``what`` is noted as left out."""
        if time.perf_counter() < self.until:
            return True
        self.left_out.append(f"{self.section}: {what} (time)")
        return False

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def seconds(self, call: Callable[[], Any], repeats: int = 5, warm_up: int = 2) -> float:
        """The median time of a call."""
        taken = []
        for turn in range(warm_up + repeats):
            self.wait()
            begun = time.perf_counter()
            call()
            self.wait()
            if turn >= warm_up:
                taken.append(time.perf_counter() - begun)
        return float(np.median(taken))


@dataclass
class Model:
    """A model in training on one device.

    Attributes:
        objective, sampler, optimizer: what a step needs.
        order: of the samples.
        bf16: autocast.
    """

    objective: Objective
    sampler: BatchSampler
    optimizer: torch.optim.Optimizer
    order: torch.Tensor
    bf16: bool = False

    @classmethod
    def make(cls, name: str, settings: dict[str, Any], graph: RecGraph, bf16: bool = False) -> Model:
        """The named encoder and tasks with the first weights of the seed, on the graph's device."""
        config = resolve(name, settings, graph.n_items)
        device = graph.relations["clicks"].device
        objective = make_objective(config, make_towers(config, graph), graph).to(device)
        requires: list[Any] = [task.requires for task in objective.tasks.values()]
        sampler = BatchSampler(
            graph, config.sampling, requires, config.model.history, config.training.seed, objective.towers.reads
        )
        fused = device.type == "cuda" or None
        optimizer = torch.optim.AdamW(objective.parameters(), lr=config.training.lr, fused=fused)
        return cls(objective.train(), sampler, optimizer, sampler.order(0), bf16)

    def batch(self, step: int) -> Any:
        """The batch of a step; the epoch begins again after its last."""
        return self.sampler.batch(0, step % self.sampler.steps, self.order)

    def loss(self, batch: Any) -> torch.Tensor:
        """The forward pass."""
        with torch.autocast(self.sampler.device.type, torch.bfloat16, enabled=self.bf16):
            loss: torch.Tensor = self.objective(batch)[0]
        return loss

    def backward(self, loss: torch.Tensor) -> None:
        """New gradients."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()

    def update(self) -> None:
        """Clip the gradients and change the weights."""
        torch.nn.utils.clip_grad_norm_(self.objective.parameters(), 5.0)
        self.optimizer.step()

    def step(self, number: int) -> None:
        """What the training loop does in a step."""
        self.backward(self.loss(self.batch(number)))
        self.update()
