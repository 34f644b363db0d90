"""The names that every stage shares: columns, node and edge types, and the named errors."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

USER, ITEM, SESSION = "user", "item", "session"

USER_ID, ITEM_ID, TIMESTAMP = "user_id", "item_id", "timestamp"
SESSION_ID, ORDINAL, EVENT, WEIGHT, DURATION = "session_id", "ordinal", "event", "weight", "duration"
TITLE, CATEGORY, TAGS, PROVIDER, EMBEDDING = "title", "category", "tags", "provider", "embedding"

CLICKS, HAS, CONTAINS, CO_OCCURS, SIMILAR = "clicks", "has", "contains", "co_occurs", "similar"

EDGE_TYPES: dict[str, tuple[str, str, str]] = {
    CLICKS: (USER, CLICKS, ITEM),
    HAS: (USER, HAS, SESSION),
    CONTAINS: (SESSION, CONTAINS, ITEM),
    CO_OCCURS: (ITEM, CO_OCCURS, ITEM),
    SIMILAR: (ITEM, SIMILAR, ITEM),
}
"""Relation name -> PyG edge type (source node, relation, destination node)."""


LONGEST = 600
"""Characters of a part of an error's message."""


def _legible(part: Any) -> Any:
    """A part of a message without what breaks lines or screens, and not longer than can be read."""
    text = str(part)
    if not text.strip():
        return repr(text)
    shown = "".join(one if one.isprintable() else " " for one in text)
    if len(shown) > LONGEST:
        shown = f"{shown[: LONGEST // 2]} ... {shown[-LONGEST // 2 :]}"
    return part if shown == text else shown


class MicgraphError(Exception):
    """Base of every error that micgraph raises on purpose.

    The message always reads ``argument: expected ..., got ...; remedy``, on one line. Of a part that is longer than
    ``LONGEST`` characters, such as an id of 10 kB, it has the two ends.
    """

    def __init__(self, argument: str, expected: str, got: Any, remedy: str) -> None:
        parts = (_legible(part) for part in (argument, expected, got, remedy))
        self.argument, self.expected, self.got, self.remedy = parts
        super().__init__(f"{self.argument}: expected {self.expected}, got {self.got}; {self.remedy}")

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.argument, self.expected, self.got, self.remedy)


class InputError(MicgraphError, ValueError):
    """An argument, a file or a table that cannot be used as it is."""


class SchemaError(InputError):
    """A table lacks a column, or a column has a type that cannot mean what it should."""


class ConfigError(MicgraphError, ValueError):
    """A configuration names something unknown or a value out of range."""


_BOUNDS = {"at least": operator.ge, "above": operator.gt, "at most": operator.le, "below": operator.lt}


def check_range(settings: Mapping[str, Any], names: str, remedy: str = "correct the value", **limits: float) -> None:
    """Refuse settings out of range; None and names that are not there are not set, lists are checked one by one.

    Args:
        settings: values by name.
        names: those to check, separated by blanks.
        remedy: of the error.
        limits: none or any of ``at_least``, ``above``, ``at_most`` and ``below``; infinity and NaN are always refused.

    Raises:
        ConfigError: names the first of them, or a value that is no number.
    """
    bounds = {name.replace("_", " "): limit for name, limit in limits.items()}
    in_words = " and ".join(f"{bound} {limit:g}" for bound, limit in bounds.items())
    for name in names.split():
        value = settings.get(name)
        for number in value if isinstance(value, (list, tuple)) else (value,):
            if number is None:
                continue
            if not isinstance(number, Real):
                raise ConfigError(name, f"a number {in_words}".strip(), repr(value), remedy)
            if not math.isfinite(number):
                raise ConfigError(name, f"finite and {in_words}" if bounds else "a finite number", value, remedy)
            if not all(_BOUNDS[bound](number, limit) for bound, limit in bounds.items()):
                raise ConfigError(name, in_words, value, remedy)


def check_whole(name: str, value: Any, remedy: str = "correct the value") -> None:
    """Refuse a setting that is not an integer.

    Raises:
        ConfigError: names it.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(name, "an integer", repr(value), remedy)


def did_you_mean(name: Any, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the nearest known one, or ``otherwise`` where none is near."""
    close = get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else otherwise


class ArtifactError(MicgraphError, OSError):
    """A saved directory is missing, damaged, of another kind or of another format version."""


class LeakageError(MicgraphError, ValueError):
    """Held-out interactions are in the graph that should be tested on them."""


class RankError(MicgraphError, RuntimeError):
    """One of the processes that train together has ended or cannot be reached."""


class UnknownIdError(MicgraphError, KeyError):
    """An external id that the graph does not know."""


class StoreError(MicgraphError, OSError):
    """A store of live histories that is closed, full, out of reach or too slow, or holds what is no history."""


class MissingExtraError(MicgraphError, ImportError):
    """A feature needs a package that is not installed; the remedy is the exact pip line."""
