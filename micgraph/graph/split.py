"""Splits of a log into what training may see and what is held out; made before any graph (DECISIONS 1-4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from micgraph.graph.events import Log


@dataclass(frozen=True)
class Holdout:
    """What a set of users is tested on.

    Attributes:
        histories: events that may be read for each user, at recommendation time.
        targets: events that are to be found.
        manifest: how the split was made, with ``part``.
    """

    histories: Log
    targets: Log
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Split:
    """Training events and held-out ones.

    Attributes:
        train: what a graph may be built from.
        valid, test: held-out users or events; ``valid`` may be None.
        manifest: the kind, its parameters and a hash of both and of the log.
        dropped: reason -> number of events in no part.
    """

    train: Log
    valid: Holdout | None
    test: Holdout
    manifest: dict[str, Any]
    dropped: dict[str, int]


def split(log: Log, kind: Literal["temporal", "user_holdout", "leave_last_out"], **params: Any) -> Split:
    """Split a log."""
    raise NotImplementedError
