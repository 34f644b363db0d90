"""Tries and what a search found: :class:`Trial` and :class:`Tuned`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from micgraph.run import Run, load_run

RUNS = "runs"


@dataclass(frozen=True)
class Trial:
    """One try.

    Attributes:
        number: from 0, which is the defaults.
        settings: dotted setting -> value; of the defaults too, as far as they have one.
        score: the monitored validation metric of the best epoch; None where training diverged.
        epoch: that epoch, from 1.
        seconds: of training.
        metrics: every validation metric of that epoch.
        diverged: where training diverged, what its loss was and what may help; else empty.
    """

    number: int
    settings: dict[str, Any]
    score: float | None
    epoch: int
    seconds: float
    metrics: dict[str, float]
    diverged: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Tuned:
    """A finished search; prints as a table.

    Attributes:
        directory: holds ``best.yaml``, the trials and the run of the best one.
        model: encoder and tasks.
        monitor: the validation metric that decided.
        config: the best settings over what was given, as ``best.yaml`` has them; :func:`micgraph.train` takes it.
        trials: in the order in which they were tried.
    """

    directory: Path
    model: str
    monitor: str
    config: dict[str, Any]
    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The trial with the highest score, the first of equal ones."""
        return best_of(self.trials)

    def run(self) -> Run:
        """The trained run of the best trial."""
        return load_run(run_folder(self.directory, self.best.number))

    def __str__(self) -> str:
        names = list(self.trials[0].settings)
        rows = [["trial", self.monitor, "epoch", "seconds", *names]]
        for trial in self.trials:
            score = "diverged" if trial.score is None else f"{trial.score:.4f}"
            cells = [_shown(trial.settings.get(name)) for name in names]
            mark = " *" if trial is self.best else ""
            rows.append([f"{trial.number}{mark}", score, str(trial.epoch), f"{trial.seconds:.0f}", *cells])
        width = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, width)).rstrip() for row in rows)


def best_of(done: Sequence[Trial]) -> Trial:
    """The trial with the highest score, the first of equal ones."""
    return max(done, key=lambda trial: -math.inf if trial.score is None else trial.score)


def run_folder(folder: Path, number: int) -> Path:
    """Where the run of a trial lies in the directory of its search."""
    return folder / RUNS / f"{number:03d}"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
