"""Where a run stands, on disk: its weights, its optimiser and its metrics."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from micgraph import artifact
from micgraph.disk import room
from micgraph.schema import ArtifactError
from micgraph.training.optimizer import RowAdamW, pack, unpack

CHECKPOINT_FORMAT = 1
LAST, BEST, METRICS, STATE = "last", "best", "metrics.jsonl", "state.json"


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


class Checkpoints:
    """The folder of a run in training: ``metrics.jsonl``, and the checkpoints ``last`` and ``best``.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def last_exists(self) -> bool:
        """Whether there is something to go on from."""
        return artifact.exists(self.folder / LAST)

    def write_last(self, model: nn.Module, optimizer: RowAdamW, progress: Progress) -> None:
        """Everything that going on needs."""
        packed, groups = pack(optimizer.state_dict())

        def write(folder: Path) -> None:
            save_file(_weights(model), folder / "model.safetensors")
            save_file(packed, folder / "optimizer.safetensors")
            lines = _digest(_first_lines(self.folder, progress.rows))
            state = {"progress": asdict(progress), "groups": groups, "metrics": lines}
            (folder / STATE).write_text(json.dumps(state))

        artifact.publish(self.folder / LAST, "checkpoint", CHECKPOINT_FORMAT, write)

    def write_best(self, model: nn.Module) -> None:
        """The weights alone."""
        artifact.publish(
            self.folder / BEST,
            "checkpoint",
            CHECKPOINT_FORMAT,
            lambda folder: save_file(_weights(model), folder / "model.safetensors"),
        )

    def read_last(self, model: nn.Module, optimizer: RowAdamW) -> Progress:
        """Load what :meth:`write_last` wrote.

        Raises:
            ArtifactError: damaged, or of a model with other weights.
        """
        folder = artifact.resolve(self.folder / LAST, "checkpoint", CHECKPOINT_FORMAT)
        saved = json.loads((folder / STATE).read_text())
        try:
            model.load_state_dict(load_file(folder / "model.safetensors"))
        except RuntimeError as error:
            raise ArtifactError(
                str(self.folder), "a checkpoint of this configuration", "other weights", "choose another run directory"
            ) from error
        optimizer.load_state_dict(unpack(load_file(folder / "optimizer.safetensors"), saved["groups"]))
        return Progress(**saved["progress"])

    def read_best(self, model: nn.Module) -> None:
        """Load what :meth:`write_best` wrote.

        Raises:
            ArtifactError: nothing there, or damaged.
        """
        model.load_state_dict(load_weights(self.folder / BEST))

    def add_metrics(self, row: dict[str, Any]) -> None:
        """A line of metrics.jsonl.

        Raises:
            ArtifactError: the disk is full.
        """
        path = self.folder / METRICS
        with room(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def keep_metrics(self, rows: int) -> None:
        """Cut off lines written after the last checkpoint: their epochs are done again."""
        path = self.folder / METRICS
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            os.truncate(path, sum(map(len, lines[:rows])))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl up to the last checkpoint; those after it are of an epoch that is done again.

    Raises:
        ArtifactError: the file is not as it was when that checkpoint was written, or the checkpoint is damaged.
    """
    if not artifact.exists(folder / LAST):  # before the first one, or somebody has removed it
        return _parsed(folder, _first_lines(folder, None))

    def state(version: Path) -> dict[str, Any]:
        return dict(json.loads((version / STATE).read_text()))

    saved = artifact.opened(folder / LAST, "checkpoint", CHECKPOINT_FORMAT, state, only=STATE)
    rows = saved["progress"]["rows"]
    found = _first_lines(folder, rows)
    if len(found) != rows or saved.get("metrics", _digest(found)) != _digest(found):  # once no sum was kept
        raise _changed(folder, found, rows)
    return _parsed(folder, found)


def _parsed(folder: Path, lines: list[bytes]) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise _changed(folder, lines, len(lines)) from error


def _changed(folder: Path, found: list[bytes], rows: int) -> ArtifactError:
    got, remedy = f"{len(found)} lines, changed or cut", "restore it from a copy; the weights are not concerned"
    return ArtifactError(str(folder / METRICS), f"the {rows} lines that were saved", got, remedy)


def _first_lines(folder: Path, rows: int | None) -> list[bytes]:
    path = folder / METRICS
    return path.read_bytes().splitlines(keepends=True)[:rows] if path.exists() else []


def _digest(lines: list[bytes]) -> str:
    return hashlib.sha256(b"".join(lines)).hexdigest()


def load_weights(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint (``<run>/best`` or ``<run>/last``) by parameter name.

    Raises:
        ArtifactError: no checkpoint there, or a damaged one.
    """
    return load_file(artifact.resolve(path, "checkpoint", CHECKPOINT_FORMAT) / "model.safetensors")


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().contiguous().cpu() for name, value in model.state_dict().items()}
