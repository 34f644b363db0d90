"""The result of one row and seed on disk: figures as JSON, per-user numbers beside it as NumPy arrays."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph import disk, sealed
from micgraph.evaluation import Result
from micgraph.schema import ArtifactError, ConfigError
from micgraph.tuning.space import plain

Array = NDArray[np.float32]
RESULTS = "results"
SHARED = ("graph", "test", "test_data", "validation", "develop", "ks", "filter_seen", "seen_too", "monitor")
"""What the setups of all rows of a table have in common: :meth:`micgraph.experiments.Bench.describe`."""
SEEN_TOO = ", seen too"
"""Follows a metric's name where lists may repeat the history: ``recall@50, seen too``."""
KEYS = ("row", "seed", "setup", "seconds", "parameters", "epochs", "extra", "lines")
"""Of a record's JSON, which also has the SHA-256 of the arrays beside it."""
BUDGET = ("trials", "epochs", "overrides")
"""What they have in common as far as they have it: a reference row that nothing is chosen for has none of these."""


@dataclass(frozen=True)
class Line:
    """What one view of one trained row reached.

    Attributes:
        values: metric and cut, such as ``"recall@50"`` -> number.
        per_user: the same names -> float32 [B] for metrics that have a value a user.
        weights: metric without its cut -> float32 [B], what each user counts.
    """

    values: dict[str, float]
    per_user: dict[str, Array]
    weights: dict[str, Array]

    @classmethod
    def of(cls, result: Result, metrics: Iterable[str]) -> Line:
        """The figures of a result; per-user numbers of some metrics only."""
        kept = [name for name in metrics if name in result.per_user]
        columns = {f"{name}@{k}": result.column(f"{name}@{k}")[0].numpy() for name in kept for k in result.ks}
        return cls(result.values, columns, {name: result.weights[name].numpy() for name in kept})


@dataclass(frozen=True)
class Record:
    """One row and seed.

    Attributes:
        row: the row's name.
        seed: of its training.
        setup: what it was trained on and with; a result of another setup is not taken for this one's.
        lines: line's name -> what it reached.
        seconds: of training.
        parameters: of the model; 0 for a reference row.
        epochs: trained.
        extra: further figures of the run, such as the uniformity of its vectors.
    """

    row: str
    seed: int
    setup: dict[str, Any]
    lines: dict[str, Line]
    seconds: float = 0.0
    parameters: int = 0
    epochs: int = 0
    extra: dict[str, float] | None = None

    def save(self, path: Path) -> None:
        """Write ``path`` (JSON) and the arrays beside it; who sees the JSON sees the arrays too."""
        arrays: dict[str, Array] = {}
        for number, line in enumerate(self.lines.values()):
            for kind, columns in (("value", line.per_user), ("weight", line.weights)):
                arrays |= {f"{number}/{kind}/{name}": column for name, column in columns.items()}
        plain = {name: getattr(self, name) for name in ("row", "seed", "setup", "seconds", "parameters", "epochs")}
        plain |= {"extra": self.extra or {}, "lines": {name: line.values for name, line in self.lines.items()}}
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{uuid.uuid4().hex[:8]}.npz")
        with disk.room(path):
            np.savez_compressed(beside, **arrays)  # type: ignore[arg-type]
            beside.replace(path.with_suffix(".npz"))
        sealed.write(path, plain | {"arrays": _digest(path)})

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read what :meth:`save` wrote.

        Raises:
            ArtifactError: one of the two files is damaged.
        """
        plain = sealed.read(path, KEYS, ["arrays"])
        if plain.pop("arrays", None) not in (None, _digest(path)):
            raise ArtifactError(str(path.with_suffix(".npz")), "what was saved", "a changed file", sealed.REMEDY)
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
            arrays = dict(stored)
        plain["lines"] = {
            name: Line(values, _part(arrays, f"{number}/value/"), _part(arrays, f"{number}/weight/"))
            for number, (name, values) in enumerate(plain["lines"].items())
        }
        return cls(**plain)


def place(out: Path, slug: str, seed: int) -> Path:
    """Where the result of a row and seed lies."""
    return out / RESULTS / slug / f"seed-{seed}.json"


def stored(path: Path, setup: Mapping[str, Any]) -> Record | None:
    """The result that lies there, None where there is none.

    Raises:
        ConfigError: it was made from other data or settings.
    """
    if not path.exists():
        return None
    found = Record.load(path)
    wanted = plain(setup)
    differing = [name for name in {**wanted, **found.setup} if found.setup.get(name) != wanted.get(name)]
    if differing:
        expected = "a new directory, or results of the same data and settings"
        got = f"{path}, whose {', '.join(differing)} differ"
        raise ConfigError("out", expected, got, "choose another directory, or remove that file")
    return found


def refuse_others(out: Path, setup: Mapping[str, Any]) -> None:
    """Look for results that no table may have together with those of a setup, before anything is trained.

    Raises:
        ConfigError: there are some, of other data, another budget or other overrides.
    """
    wanted = plain(setup)
    for path in sorted((out / RESULTS).glob("*/seed-*.json")):
        found = sealed.read(path, KEYS, ["arrays"])
        _refuse(("these settings", wanted), (found["row"], found["setup"]))


def refuse_mixed(rows: Mapping[str, Sequence[Record]]) -> None:
    """Look for results that one table may not compare: of other test users, another budget or other overrides.

    Raises:
        ConfigError: there are some; it names two rows and what differs.
    """
    firsts = [(name, records[0].setup) for name, records in rows.items() if records]
    for at, first in enumerate(firsts):
        for other in firsts[at + 1 :]:
            _refuse(first, other)
        for record in rows[first[0]]:
            _refuse(first, (f"{record.row}, seed {record.seed}", record.setup), tuple(first[1]))


def _refuse(
    one: tuple[str, Mapping[str, Any]], other: tuple[str, Mapping[str, Any]], names: Sequence[str] = SHARED
) -> None:
    (name, mine), (its_name, theirs) = one, other
    differing = [key for key in names if mine.get(key) != theirs.get(key)]
    differing += [key for key in BUDGET if key in mine and key in theirs and mine[key] != theirs[key]]
    if differing:
        got = f"{name} and {its_name}, whose {', '.join(dict.fromkeys(differing))} differ"
        expected = "rows of the same data, budget and overrides"
        raise ConfigError("out", expected, got, "choose another directory, or remove the results of one of them")


def _digest(path: Path) -> str | None:
    """Of the arrays beside a record; None where there are none."""
    arrays = path.with_suffix(".npz")
    return hashlib.sha256(arrays.read_bytes()).hexdigest() if arrays.is_file() else None


def _part(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): column for name, column in arrays.items() if name.startswith(prefix)}
