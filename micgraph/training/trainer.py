"""The loop itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from micgraph import rng
from micgraph.ranks import ALONE, Ranks
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Batch
from micgraph.schema import ArtifactError, ConfigError
from micgraph.tasks.objective import Objective
from micgraph.tasks.spread import Spread
from micgraph.training.checkpoints import Checkpoints, Progress
from micgraph.training.config import TrainingConfig
from micgraph.training.optimizer import clip, make_optimizer
from micgraph.training.prefetch import prefetched
from micgraph.training.tally import Tally

Validate = Callable[[], dict[str, float]]
OnEpoch = Callable[[dict[str, Any]], None]


class Trainer:
    """Trains an objective on the batches of a sampler and keeps its state in a folder.

    Args:
        objective: towers and tasks, on the sampler's device.
        sampler: makes the batches.
        config: the loop.
        folder: holds ``metrics.jsonl`` and the checkpoints ``last`` and ``best``. A checkpoint found there is
            gone on from.
        validate: called between epochs; returns metrics by name. None: the last weights are the best ones.
        on_epoch: receives each line of metrics.
        progress: wraps the steps of an epoch, such as a progress bar.
        on_resume: receives where training goes on, if it does so from a checkpoint.
        ranks: the processes that train together, each with a trainer of its own. The first one alone validates, writes
            and calls the callables; all read the checkpoint that training goes on from.
    """

    def __init__(
        self,
        objective: Objective,
        sampler: BatchSampler,
        config: TrainingConfig,
        folder: Path,
        validate: Validate | None = None,
        on_epoch: OnEpoch | None = None,
        progress: Callable[[Iterable[int], str], Iterable[int]] = lambda steps, title: steps,
        on_resume: Callable[[Progress], None] | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.objective, self.sampler, self.config = objective, sampler, config
        self.checkpoints = Checkpoints(folder)
        self.validate, self.on_epoch, self.progress_bar = validate, on_epoch, progress
        self.on_resume, self.ranks = on_resume, ranks
        objective.spread = Spread(ranks, config.micro_batch)
        cuda = sampler.device.type == "cuda"
        rows = config.sparse_rows if ranks.size == 1 else 0  # NCCL adds up no gradients of single rows
        self.optimizer = make_optimizer(objective, config.lr, config.weight_decay, rows, sampler.device.type)
        some = sampler.contexts is not None  # weights of a relation without edges around a batch have no gradient
        self.model = ranks.parallel(objective, unused=some)
        self.bf16 = config.precision == "bf16" or (config.precision == "auto" and cuda)
        self.state = Progress()
        self.tally = Tally(0, {})

    def run(self) -> Progress:
        """Train to the end, from the last checkpoint where there is one, and load the best weights.

        A run that has ended goes on when ``epochs`` or ``patience`` have grown since. Where it ended by ``epochs``, its
        last epoch has been validated even if ``validate_every`` did not ask for it.
        """
        if self.checkpoints.last_exists():
            self.state = self.checkpoints.read_last(self.objective, self.optimizer)
            if self.on_resume is not None and self.ranks.first and not self._ended():
                self.on_resume(self.state)
        self._same_state()
        if self.ranks.first:
            self.checkpoints.keep_metrics(self.state.rows)
        try:
            while not self._ended():
                self._epoch()
        finally:
            self.model = self.objective  # so that whoever keeps the trainer keeps no connections
        self.checkpoints.read_best(self.objective)
        return self.state

    def _ended(self) -> bool:
        return self.state.epoch >= self.config.epochs or self.state.stale >= self.config.patience

    def _epoch(self) -> None:
        state = self.state
        started, before = time.perf_counter(), state.seconds
        self.objective.train()
        self.objective.begin_epoch(state.epoch, self.sampler.clicks, self.config.seed, resumed=state.step > 0)
        epoch, order = state.epoch, self.sampler.order(state.epoch)
        steps = range(state.step, self.sampler.steps)
        self.tally = Tally(epoch, state.sums)
        with prefetched(lambda step: self.sampler.batch(epoch, step, order), steps, order.device) as batches:
            for step in self.progress_bar(steps, f"epoch {epoch + 1}/{self.config.epochs}"):
                self._step(step, next(batches))
                state.step = step + 1
                state.seconds = before + time.perf_counter() - started
                every = self.config.checkpoint_every
                if every and state.step % every == 0 and state.step < self.sampler.steps:
                    state.sums = self.tally.read()
                    if self.ranks.first:
                        self.checkpoints.write_last(self.objective, self.optimizer, state)
        state.sums = self.tally.read()
        if self.ranks.first:
            self._end_epoch()
        self.state = Progress(**self.ranks.told(asdict(state)))

    def _step(self, step: int, batch: Batch) -> None:
        epoch = self.state.epoch
        rng.seed_torch(rng.make_key(self.config.seed, "dropout", epoch, step), self.sampler.device)
        with torch.autocast(self.sampler.device.type, torch.bfloat16, enabled=self.bf16):
            loss, parts = self.model(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr(epoch, step)
        if self.config.clip:
            clip(self.objective, self.config.clip)
        self.optimizer.step()
        self.tally.add(step, loss.detach(), parts)

    def _lr(self, epoch: int, step: int) -> float:
        if self.config.schedule == "constant":
            return self.config.lr
        done = (epoch + step / self.sampler.steps) / self.config.epochs
        return self.config.lr * 0.5 * (1 + math.cos(math.pi * done))

    def _end_epoch(self) -> None:
        state, config = self.state, self.config
        row: dict[str, Any] = {"epoch": state.epoch + 1, "seconds": round(state.seconds, 3)}
        row |= {name: total / self.sampler.steps for name, total in state.sums.items()}
        improved = state.best is None  # until something is validated the latest weights are the best ones
        due = (state.epoch + 1) % config.validate_every == 0 or state.epoch + 1 == config.epochs
        if self.validate is not None and due:
            self.objective.eval()
            metrics = self.validate()
            row |= {f"valid/{name}": value for name, value in metrics.items()}
            value = _monitored(metrics, config.monitor)
            improved = state.best is None or value > state.best
            state.stale = 0 if improved else state.stale + 1
            state.best = value if improved else state.best
        if improved:
            state.best_epoch = state.epoch
        state.epoch, state.step, state.sums, state.seconds = state.epoch + 1, 0, {}, 0.0
        self.checkpoints.add_metrics(row)
        state.rows += 1
        if improved:
            self.checkpoints.write_best(self.objective)
        self.checkpoints.write_last(self.objective, self.optimizer, state)
        if self.on_epoch is not None:
            self.on_epoch(row)

    def _same_state(self) -> None:
        """Refuse to train with processes that go on from somewhere else."""
        state, first = asdict(self.state), self.ranks.told(asdict(self.state))
        if first != state:
            expected, got = (f"the checkpoint at epoch {s['epoch']}, step {s['step']}" for s in (first, state))
            raise ArtifactError(
                str(self.checkpoints.folder), expected, got, "put the folder where every process sees it"
            )


def _monitored(metrics: dict[str, float], name: str) -> float:
    if name not in metrics:
        remedy = "name one of these, or leave training.monitor out"
        raise ConfigError("training.monitor", f"one of {sorted(metrics)}", repr(name), remedy)
    return metrics[name]
