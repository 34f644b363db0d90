"""The names that every stage shares: columns, node and edge types, and the named errors."""

from __future__ import annotations

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


class MicgraphError(Exception):
    """Base of every error that micgraph raises on purpose.

    The message always reads ``argument: expected ..., got ...; remedy``.
    """

    def __init__(self, argument: str, expected: str, got: Any, remedy: str) -> None:
        self.argument, self.expected, self.got, self.remedy = argument, expected, got, remedy
        super().__init__(f"{argument}: expected {expected}, got {got}; {remedy}")

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


def check_range(section: str, low: float, high: float | None = None, **settings: float) -> None:
    """Refuse settings outside [low, high] (no upper limit by default).

    Raises:
        ConfigError: names the first of them.
    """
    for name, value in settings.items():
        if not (value >= low and (high is None or value <= high)):
            expected = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
            raise ConfigError(f"{section}.{name}", expected, value, "correct the value")


class ArtifactError(MicgraphError, OSError):
    """A saved directory is missing, damaged, of another kind or of another format version."""


class LeakageError(MicgraphError, ValueError):
    """Held-out interactions are in the graph that should be tested on them."""


class UnknownIdError(MicgraphError, KeyError):
    """An external id that the graph does not know."""


class MissingExtraError(MicgraphError, ImportError):
    """A feature needs a package that is not installed; the remedy is the exact pip line."""
