"""The training loop: explicit, resumable at any step, and the same after a resume as without one (on CPU)."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from micgraph import artifact, rng
from micgraph.optimizer import clip, make_optimizer, pack, unpack
from micgraph.prefetch import prefetched
from micgraph.ranks import ALONE, Ranks
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Batch
from micgraph.schema import ArtifactError, ConfigError, check_range
from micgraph.tally import Tally
from micgraph.tasks.objective import Objective
from micgraph.tasks.spread import Spread

CHECKPOINT_FORMAT = 1
LAST, BEST, METRICS = "last", "best", "metrics.jsonl"


@dataclass(frozen=True)
class TrainingConfig:
    """The loop.

    Attributes:
        epochs: at most so many.
        lr, weight_decay: of AdamW (weight_decay 0 is Adam).
        schedule: the learning rate stays (``constant``), or falls to 0 at the end of ``epochs`` along half a cosine,
            so that the ``epochs`` of a run that has begun are final.
        clip: largest norm of the gradient, 0 for no limit.
        patience: stop after so many validations without a better ``monitor``.
        validate_every: epochs between validations.
        monitor: the validation metric that selects the best weights, higher is better.
        checkpoint_every: steps between checkpoints, 0 for one at each epoch's end.
        micro_batch: so many queries (of each process) are encoded at a time, and again in the backward pass, for a
            batch that does not fit; the step is the same. 0: all at once, and once.
        precision: ``bf16`` autocast on CUDA, ``fp32`` elsewhere, with ``auto``.
        sparse_rows: tables of embeddings with at least so many rows are updated where a step has read them (lazy Adam):
            other rows keep their moments and do not decay. 0, and with several processes: every row of every table in
            every step.
        seed: of weights, batches and dropout.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    epochs: int = 20
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    clip: float = 5.0
    patience: int = 3
    validate_every: int = 1
    monitor: str = "recall@50"
    checkpoint_every: int = 0
    micro_batch: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    sparse_rows: int = 200_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(vars(self), "epochs patience validate_every", at_least=1)
        check_range(vars(self), "weight_decay clip checkpoint_every micro_batch sparse_rows", at_least=0)
        check_range(vars(self), "lr", above=0)


@dataclass
class Progress:
    """Where a run stands; saved with every checkpoint.

    Attributes:
        epoch, step: the next step to take.
        best: the best monitored value so far, and ``best_epoch`` the epoch that reached it.
        stale: validations since then.
        sums: of every loss part over the steps of the running epoch.
        seconds: spent in the running epoch.
        rows: lines of metrics.jsonl that belong to this state.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = -1
    stale: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    rows: int = 0


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
        self.objective, self.sampler, self.config, self.folder = objective, sampler, config, folder
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
        folder.mkdir(parents=True, exist_ok=True)

    def run(self) -> Progress:
        """Train to the end, from the last checkpoint where there is one, and load the best weights.

        A run that has ended goes on when ``epochs`` or ``patience`` have grown since. Where it ended by ``epochs``, its
        last epoch has been validated even if ``validate_every`` did not ask for it.
        """
        if artifact.exists(self.folder / LAST):
            self._resume()
            if self.on_resume is not None and self.ranks.first and not self._ended():
                self.on_resume(self.state)
        self._same_state()
        self._trim_metrics()
        try:
            while not self._ended():
                self._epoch()
        finally:
            self.model = self.objective  # so that whoever keeps the trainer keeps no connections
        self.objective.load_state_dict(load_weights(self.folder / BEST))
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
                        self._checkpoint(LAST)
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
        self._write(row)
        if improved:
            self._checkpoint(BEST)
        self._checkpoint(LAST)
        if self.on_epoch is not None:
            self.on_epoch(row)

    def _write(self, row: dict[str, Any]) -> None:
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.state.rows += 1

    def _checkpoint(self, name: str) -> None:
        packed, groups = pack(self.optimizer.state_dict())

        def write(folder: Path) -> None:
            weights = {k: v.detach().contiguous().cpu() for k, v in self.objective.state_dict().items()}
            save_file(weights, folder / "model.safetensors")
            if name == LAST:
                save_file(packed, folder / "optimizer.safetensors")
                (folder / "state.json").write_text(json.dumps({"progress": asdict(self.state), "groups": groups}))

        artifact.publish(self.folder / name, "checkpoint", CHECKPOINT_FORMAT, write)

    def _resume(self) -> None:
        folder = artifact.resolve(self.folder / LAST, "checkpoint", CHECKPOINT_FORMAT)
        saved = json.loads((folder / "state.json").read_text())
        try:
            self.objective.load_state_dict(load_file(folder / "model.safetensors"))
        except RuntimeError as error:
            raise ArtifactError(
                str(self.folder), "a checkpoint of this configuration", "other weights", "choose another run directory"
            ) from error
        self.optimizer.load_state_dict(unpack(load_file(folder / "optimizer.safetensors"), saved["groups"]))
        self.state = Progress(**saved["progress"])

    def _same_state(self) -> None:
        """Refuse to train with processes that go on from somewhere else."""
        state, first = asdict(self.state), self.ranks.told(asdict(self.state))
        if first != state:
            expected, got = (f"the checkpoint at epoch {s['epoch']}, step {s['step']}" for s in (first, state))
            raise ArtifactError(str(self.folder), expected, got, "put the folder where every process sees it")

    def _trim_metrics(self) -> None:
        """Cut off lines written after the checkpoint: their epochs are done again."""
        path = self.folder / METRICS
        if self.ranks.first and path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            os.truncate(path, sum(map(len, lines[: self.state.rows])))


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint (``<run>/best`` or ``<run>/last``) by parameter name.

    Raises:
        ArtifactError: no checkpoint there, or a damaged one.
    """
    return load_file(artifact.resolve(path, "checkpoint", CHECKPOINT_FORMAT) / "model.safetensors")


def _monitored(metrics: dict[str, float], name: str) -> float:
    if name not in metrics:
        remedy = "name one of these, or leave training.monitor out"
        raise ConfigError("training.monitor", f"one of {sorted(metrics)}", repr(name), remedy)
    return metrics[name]
