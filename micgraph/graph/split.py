"""Splits of a log into what training may see and what is held out; made before any graph (DECISIONS 1-4).

Reading a log keeps one event of each (user, item, second), so no held-out (user, item, second) is in training
whatever the split: the property that a graph can check exactly.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from micgraph.disk import room
from micgraph.graph import ingest, times
from micgraph.graph.events import Log
from micgraph.schema import ConfigError, InputError, check_whole

Kind = Literal["temporal", "user_holdout", "leave_last_out"]
_ORDER = "timestamp, ordinal, item_id"


@dataclass(frozen=True)
class Holdout:
    """What a set of users is tested on.

    Attributes:
        histories: events that may be read for these users at recommendation time; a user may have none.
        targets: the events that are to be found.
        manifest: how the split was made, with ``part``.
    """

    histories: Log
    targets: Log
    manifest: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """Write the events and the manifest to the directory ``path``; feature tables stay behind.

        Raises:
            ArtifactError: ``path`` holds something else.
        """
        from micgraph.graph.holdout import save

        save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Holdout:
        """Read a holdout that :meth:`save` wrote.

        Raises:
            ArtifactError: missing, damaged, of another kind or format version.
        """
        from micgraph.graph.holdout import load

        return load(path)


@dataclass(frozen=True)
class Split:
    """Training events and held-out ones.

    Attributes:
        train: what a graph may be built from.
        valid, test: held-out users or events; ``valid`` may be None.
        manifest: the kind, its parameters and a hash of them and of the log's events.
        dropped: reason -> number of events that are in no part.
    """

    train: Log
    valid: Holdout | None
    test: Holdout
    manifest: dict[str, Any]
    dropped: dict[str, int]

    def __repr__(self) -> str:
        params = ", ".join(times.setting(name, value) for name, value in self.manifest["params"].items())
        lines = [f"Split: {self.manifest['kind']}({params})", f"  train    {len(self.train):,} events"]
        for name, part in (("valid", self.valid), ("test", self.test)):
            if part is not None:
                lines.append(f"  {name:<8} {len(part.targets):,} targets, {len(part.histories):,} history events")
        lines += [f"  dropped  {count:,} ({reason})" for reason, count in self.dropped.items()]
        return "\n".join(lines)


def split(log: Log, kind: Kind, **params: Any) -> Split:
    """Split a log.

    Args:
        log: what :func:`micgraph.read_log` made.
        kind: ``"temporal"``, ``"user_holdout"`` or ``"leave_last_out"``; the parameters are those of the function
            of that name in this module.

    Raises:
        ConfigError: an unknown kind or parameter, or a value of the wrong type or out of range.
        InputError: ``log`` is no log, a time that cannot be read, or a part that is needed would be empty.
        ArtifactError: the log was read with ``memory_limit``, and the disk of temporary files is full.
    """
    if not isinstance(log, Log):
        raise InputError("log", "a Log", type(log).__name__, "make one of it with micgraph.read_log(...)")
    kinds: dict[str, Callable[..., Split]] = {made.__name__: made for made in (temporal, user_holdout, leave_last_out)}
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError("kind", f"one of {', '.join(kinds)}", repr(kind), "choose one of these")
    accepted = list(inspect.signature(kinds[kind]).parameters)[1:]
    for name in params:
        if name not in accepted:
            expected = f"parameters of {kind}: {', '.join(accepted) or 'none'}"
            raise ConfigError(name, expected, repr(name), "remove it or correct its name")
    with room():
        return kinds[kind](log, **params)


def temporal(
    log: Log,
    cut: str | date | float | None = None,
    test: str | timedelta = "2d",
    valid: str | timedelta | None = "auto",
) -> Split:
    """Train before a cut, test in the window after it (DECISIONS 2).

    Test targets are the events in [cut, cut + test); later ones are dropped and counted. Histories end at the cut.
    With validation, its targets are the events in [cut - valid, cut), its histories end where they begin, and so does
    the training part; the test histories still reach to the cut.

    Args:
        cut: ISO text, date, datetime (UTC where no zone is given) or seconds since 1970. By default the test window
            ends with the log's last second.
        test: length of the test window.
        valid: length of the validation window, as long as the test window by default; None for no validation.
    """
    window = times.duration(test, "test")
    ahead = window if valid == "auto" else times.duration(valid, "valid") if valid is not None else 0
    last = int(log.scalar("SELECT max(timestamp) FROM {events}"))
    at = (last // times.SECOND + 1) * times.SECOND - window if cut is None else times.instant(cut, "cut")
    params = {"cut_us": at, "test_us": window, "valid_us": ahead}
    manifest = _manifest(log, "temporal", params)
    edges = {"train": (None, at - ahead), "valid": (at - ahead, at), "test": (at, at + window)}
    where = {
        name: f"timestamp < {end}" + (f" AND timestamp >= {begin}" if begin is not None else "")
        for name, (begin, end) in edges.items()
    }
    parts = {}
    for name in ("test", "valid") if ahead else ("test",):
        targets = _part(log, where[name], manifest, name, "move the cut or the window")
        mine = f"timestamp < {edges[name][0]} AND user_id IN (SELECT user_id FROM {targets.table})"
        parts[name] = _holdout(log, mine, targets, manifest, name)
    train = _part(log, where["train"], manifest, "train", "move the cut, shorten the windows or pass valid=None")
    later = int(log.scalar("SELECT count(*) FROM {events} WHERE timestamp >= $end", end=at + window))
    dropped = {"after the test window": later} if later else {}
    return Split(train, parts.get("valid"), parts["test"], manifest, dropped)


def user_holdout(
    log: Log,
    seed: int = 1230,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    min_item: int = 5,
    min_user: int = 5,
    history: float = 0.8,
) -> Split:
    """Train on some users, test on others (DECISIONS 1).

    Items with fewer than ``min_item`` events are dropped, then users with fewer than ``min_user`` remaining events, one
    pass each. Users, sorted by id, are shuffled with the seed and divided into train, validation and test. The first
    ``int(history * n)`` of a held-out user's n events are the history, the others the targets.

    Args:
        seed: of Python's ``random``, whose shuffle ComiRec's published code uses.
        fractions: of the users, for train, validation and test; they sum to 1.
        min_item, min_user: fewest events that keep an item or a user.
        history: share of a held-out user's events, above 0 and below 1.

    Raises:
        ConfigError: a value of the wrong type or out of range.
    """
    shares = _check_shares(fractions, history)
    counts = {"seed": seed, "min_item": min_item, "min_user": min_user}
    for name, value in counts.items():
        check_whole(name, value, "such as 5")
    manifest = _manifest(log, "user_holdout", {**counts, "fractions": shares, "history": history})
    kept = _frequent(log, "item_id", min_item)
    ranked = _ranked(_frequent(kept, "user_id", min_user))
    dropped = {
        f"items with fewer than {min_item} events": len(log) - len(kept),
        f"users with fewer than {min_user} events": len(kept) - len(ranked),
    }
    assigned = _assign_users(ranked, seed, shares)
    train = _part(ranked, _users_of(assigned, "train"), manifest, "train", "lower min_item or min_user")
    parts = {
        name: _held_out_users(ranked, _users_of(assigned, name), history, manifest, name)
        for name, share in (("test", shares[2]), ("valid", shares[1]))
        if name == "test" or share
    }
    _drop(log, kept.table, ranked.table, assigned)
    return Split(train, parts.get("valid"), parts["test"], manifest, {k: n for k, n in dropped.items() if n})


def _check_shares(fractions: Any, history: Any) -> list[float]:
    """The fractions as a list; a ConfigError where they, or the history, are no shares."""
    shares = list(fractions) if isinstance(fractions, Iterable) else []
    given = len(shares) == 3 and all(isinstance(share, (int, float)) and share >= 0 for share in shares)
    if not given or abs(sum(shares) - 1) > 1e-9:
        raise ConfigError("fractions", "three shares that sum to 1", repr(fractions), "such as (0.8, 0.1, 0.1)")
    if not isinstance(history, (int, float)) or not 0 < history < 1:
        raise ConfigError("history", "a share between 0 and 1", repr(history), "such as 0.8")
    return [float(share) for share in shares]


def _users_of(assigned: str, part: str) -> str:
    """The SQL condition that a user is in a part."""
    return f"user_id IN (SELECT user_id FROM {assigned} WHERE part = '{part}')"


def _held_out_users(ranked: Log, mine: str, history: float, manifest: dict[str, Any], name: str) -> Holdout:
    """The first events of the users of a part as their histories, the others as targets."""
    early = f"place <= CAST(floor({float(history)!r}::DOUBLE * size + 1e-9) AS BIGINT)"
    targets = _part(ranked, f"{mine} AND NOT {early}", manifest, name, "read more users")
    return _holdout(ranked, f"{mine} AND {early}", targets, manifest, name)


def leave_last_out(log: Log) -> Split:
    """Each user's last event is the test, the one before it validation (DECISIONS 3).

    Users with fewer than 3 events stay in training entirely.
    """
    manifest = _manifest(log, "leave_last_out", {})
    ranked = _ranked(log)
    train = _part(ranked, "size < 3 OR place <= size - 2", manifest, "train", "read more events")
    parts = {}
    for name, back in (("test", 0), ("valid", 1)):
        targets = _part(ranked, f"size >= 3 AND place = size - {back}", manifest, name, "read users with 3 events")
        parts[name] = _holdout(ranked, f"size >= 3 AND place < size - {back}", targets, manifest, name)
    _drop(log, ranked.table)
    return Split(train, parts["valid"], parts["test"], manifest, {})


def _manifest(log: Log, kind: str, params: dict[str, Any]) -> dict[str, Any]:
    """Kind and parameters, with a hash of both and of the events that no engine or row order changes."""
    row = "md5_number_lower(concat_ws(chr(31), user_id, item_id, timestamp, ordinal))"
    content = log.scalar(f"SELECT CAST(sum(CAST({row} AS HUGEINT)) AS VARCHAR) FROM {{events}}")
    text = json.dumps([kind, params, len(log), content], sort_keys=True)
    return {"kind": kind, "params": params, "split": hashlib.sha256(text.encode()).hexdigest()[:32]}


def _part(log: Log, where: str, manifest: dict[str, Any], name: str, remedy: str) -> Log:
    part = log.filter(where, {**manifest, "part": name})
    if not len(part):
        raise InputError("split", f"events in the {name} part", "none", remedy)
    return part


def _holdout(log: Log, where: str, targets: Log, manifest: dict[str, Any], name: str) -> Holdout:
    manifest = {**manifest, "part": name}
    return Holdout(log.filter(where, manifest), targets, manifest)


def _frequent(log: Log, key: str, least: int) -> Log:
    """The events whose ``key`` occurs at least so often."""
    return log.filter(f"{key} IN (SELECT {key} FROM {{events}} GROUP BY {key} HAVING count(*) >= {int(least)})")


def _ranked(log: Log) -> Log:
    """The log with two more columns: ``place`` of the event among the user's (from 1) and ``size``, their number."""
    table = ingest.fresh("ranked")
    over = f"row_number() OVER (PARTITION BY user_id ORDER BY {_ORDER}) AS place"
    log.con.execute(
        f"CREATE TABLE {table} AS SELECT *, {over}, count(*) OVER (PARTITION BY user_id) AS size FROM {log.table}"
    )
    return replace(log, table=table)


def _drop(log: Log, *tables: str) -> None:
    for table in tables:
        log.con.execute(f"DROP TABLE {table}")


def _assign_users(log: Log, seed: int, shares: Sequence[float]) -> str:
    """A table (user_id, part): users in sorted order, shuffled, cut at the cumulative shares."""
    users = log.sql("SELECT DISTINCT user_id FROM {events} ORDER BY user_id").column(0).combine_chunks()
    order = list(range(len(users)))
    random.Random(seed).shuffle(order)  # as ComiRec's published code does, so that a seed gives the same users
    cuts = [int(len(users) * share + 1e-9) for share in np.cumsum(shares)[:2]]
    part = np.empty(len(users), dtype=object)
    for name, chosen in zip(("train", "valid", "test"), np.split(np.array(order, dtype=np.int64), cuts), strict=True):
        part[chosen] = name
    table = ingest.fresh("assigned")
    log.con.register("assignment", pa.table({"user_id": users, "part": pa.array(part, pa.string())}))
    log.con.execute(f"CREATE TABLE {table} AS SELECT * FROM assignment")
    log.con.unregister("assignment")
    return table
