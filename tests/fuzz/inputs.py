"""What one input of the fuzzer is: tables, how they are written, how micgraph is called, and which mutations did it.

Input ``i`` of seed ``s`` is the same on every machine: each mutation draws from its own generator, so that one can be
left out and the others stay what they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

Table = dict[str, list[Any]]
"""Column -> values, as Python objects; None is a gap."""

STAGES = ("arguments", "values", "columns", "format", "bytes", "yaml")
N_USERS, N_ITEMS, PER_USER = 5, 8, 7
FIRST = datetime(2024, 3, 1, 9, tzinfo=UTC)


@dataclass
class Input:
    """A log with its feature tables, on the way to files.

    Attributes:
        tables: ``log`` and perhaps ``items`` and ``users``.
        format: of each table: ``csv``, ``parquet``, ``pandas``, ``polars`` or ``arrow``.
        dialect: how CSV files are written: ``delimiter, newline, quoting, encoding, bom, gzip, header``.
        types: column of a table -> Arrow type that Parquet files give it.
        suffix: of the log's file, where it is not the format's own.
        files: changes of the written bytes, by table.
        arguments: of ``read_log``, beside the tables.
        config: of ``build``.
        place: what is at ``out`` before: ``graph``, ``file``, ``folder``, ``run`` or ``nothing``.
        split: the arguments of ``split``, or None.
        steps: what is done with a graph that was built: ``append``, ``inspect``, ``train``, ``recommend``.
        through: ``python`` or ``cli``.
        yaml: the text of a config, for inputs that are one; its values before, and how its bytes are changed.
    """

    seed: int
    index: int
    family: str
    tables: dict[str, Table] = field(default_factory=dict)
    format: dict[str, str] = field(default_factory=dict)
    dialect: dict[str, Any] = field(default_factory=dict)
    types: dict[tuple[str, str], Any] = field(default_factory=dict)
    suffix: str | None = None
    files: dict[str, list[Callable[[bytes], bytes]]] = field(default_factory=dict)
    replaced: dict[str, Callable[[Path], Any]] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    place: str = "graph"
    split: dict[str, Any] | None = None
    steps: list[str] = field(default_factory=list)
    through: str = "python"
    settings: Any = None
    text: Callable[[str], str | bytes] | None = None
    mutations: list[str] = field(default_factory=list)


Mutator = Callable[[Input, np.random.Generator], None]
MUTATORS: dict[str, dict[str, Mutator]] = {stage: {} for stage in STAGES}


def mutator(stage: str) -> Callable[[Mutator], Mutator]:
    """Registers a function that changes an input; its name is its name in reports."""

    def register(function: Mutator) -> Mutator:
        MUTATORS[stage][function.__name__] = function
        return function

    return register


def one_of(rng: np.random.Generator, values: Any) -> Any:
    """One value, as the Python object that it is."""
    values = list(values)
    return values[int(rng.integers(len(values)))]


def some(rng: np.random.Generator, n: int) -> list[int]:
    """Places of a few rows of ``n``, or now and then of all of them."""
    if not n:
        return []
    return list(range(n)) if rng.random() < 0.2 else [int(i) for i in rng.integers(n, size=int(rng.integers(1, 4)))]


def make(seed: int, index: int, keep: list[int] | None = None) -> Input:
    """Input ``index`` of a seed.

    Args:
        keep: which of its mutations, by their place; all by default.
    """
    rng = np.random.default_rng([seed, index])
    family = str(rng.choice(["csv", "parquet", "frame", "yaml"], p=[0.35, 0.3, 0.1, 0.25]))
    made = Input(seed, index, family)
    if family != "yaml":
        _base(made, rng)
    chosen = _chosen(family, rng)
    for place, (stage, name) in enumerate(chosen):
        made.mutations.append(name)
        if keep is None or place in keep:
            MUTATORS[stage][name](made, np.random.default_rng([seed, index, place + 1]))
    return made


def _chosen(family: str, rng: np.random.Generator) -> list[tuple[str, str]]:
    count = int(rng.choice([0, 1, 2, 3, 4], p=[0.04, 0.36, 0.3, 0.2, 0.1]))
    if family == "yaml":
        return [("yaml", one_of(rng, MUTATORS["yaml"])) for _ in range(max(count, 1))]
    weights = {"arguments": 0.2, "values": 0.4, "columns": 0.15, "format": 0.15, "bytes": 0.1}
    stages = [str(stage) for stage in rng.choice(list(weights), size=count, p=list(weights.values()))]
    fitting = {stage: [n for n in MUTATORS[stage] if _fits(n, family)] for stage in weights}
    return [(stage, one_of(rng, fitting[stage])) for stage in sorted(stages, key=STAGES.index)]


def _fits(name: str, family: str) -> bool:
    return not any(name.startswith(f"{other}_") for other in ("csv", "parquet", "frame") if other != family)


def _base(made: Input, rng: np.random.Generator) -> None:
    made.tables["log"] = _log(rng, made.family)
    if rng.random() < 0.5:
        made.tables["items"] = _items(made.family)
    if rng.random() < 0.25:
        made.tables["users"] = {
            "user_id": [f"u{n}" for n in range(N_USERS)],
            "country": ["fr", "br", None, "fr", "jp"],
            "age": [31, 42, 23, None, 64],
        }
    for name in made.tables:
        made.format[name] = one_of(rng, ("pandas", "polars", "arrow")) if made.family == "frame" else made.family
    made.place = str(rng.choice(["graph", "file", "folder", "nothing"], p=[0.7, 0.05, 0.05, 0.2]))
    made.through = str(rng.choice(["python", "cli"], p=[0.85, 0.15])) if made.family != "frame" else "python"
    if rng.random() < 0.12:
        made.split = dict(one_of(rng, SPLITS))
    for step, share in (("append", 0.15), ("inspect", 0.15), ("train", 0.07)):
        if rng.random() < share:
            made.steps.append(step)


SPLITS: list[dict[str, Any]] = [
    {"kind": "leave_last_out"},
    {"kind": "temporal", "test": "2h", "valid": None},
    {"kind": "temporal", "test": "1d"},
    {"kind": "user_holdout", "min_item": 1, "min_user": 1, "fractions": [0.6, 0.2, 0.2]},
]


def _log(rng: np.random.Generator, family: str) -> Table:
    """35 distinct clicks, on time axes that any format has."""
    place = [(user, step) for user in range(N_USERS) for step in range(PER_USER)]
    moments = [FIRST + timedelta(hours=5 * step, minutes=11 * user, seconds=step) for user, step in place]
    kind = rng.choice(["iso", "seconds", "millis", "moment"], p=[0.5, 0.2, 0.1, 0.2])
    log: Table = {
        "user_id": [f"u{user}" for user, _ in place],
        "item_id": [f"i{int(n)}" for n in rng.integers(N_ITEMS, size=len(place))],
        "timestamp": [_time(moment, str(kind)) for moment in moments],
    }
    optional: Table = {
        "event": [("click", "view")[step % 3 == 0] for _, step in place],
        "weight": [1.0 + step for _, step in place],
        "session_id": [f"s{user}-{step // 3}" for user, step in place],
        "ordinal": [step for _, step in place],
        "duration": [12.5 * step for _, step in place],
    }
    return log | {name: values for name, values in optional.items() if rng.random() < 0.15}


def _time(moment: datetime, kind: str) -> Any:
    if kind == "moment":
        return moment
    seconds = int(moment.timestamp())
    return {"iso": moment.strftime("%Y-%m-%d %H:%M:%S"), "seconds": seconds, "millis": 1000 * seconds}[kind]


def _items(family: str) -> Table:
    number = range(N_ITEMS)
    tags: list[Any] = (
        [f"red|tag{n % 3}" for n in number] if family == "csv" else [["red", f"tag{n % 3}"] for n in number]
    )
    items: Table = {
        "item_id": [f"i{n}" for n in number],
        "title": [f"the {n}th story of tag{n % 3}" for n in number],
        "category": [("drama", "comedy")[n % 2] for n in number],
        "tags": tags,
        "year": [2000 + n for n in number],
    }
    if family != "csv":
        items["embedding"] = [[float(n), 1.0, -0.5] for n in number]
    return items
