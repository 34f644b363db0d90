"""Ids as they are typed on a command line, turned into ids of the type that the graph was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from micgraph.ids import IdMap
from micgraph.schema import InputError

if TYPE_CHECKING:
    import pyarrow as pa

READERS: dict[str, Callable[[str], Any]] = {"integers": int, "texts": str, "UUIDs": UUID}
"""How a text becomes an id, by the kind of the graph's ids."""


def listed(text: str) -> list[str]:
    """``"u1, u2"`` -> ``["u1", "u2"]``."""
    return [part.strip() for part in text.split(",") if part.strip()]


def typed(texts: Sequence[str], ids: IdMap, argument: str) -> pa.Array:
    """Ids [n] in the type of the graph's own, known or not.

    Raises:
        InputError: a text that cannot be such an id.
    """
    import pyarrow as pa

    try:
        return pa.array([READERS[ids.kind](text) for text in texts], ids.values.type)
    except (ValueError, OverflowError, pa.ArrowException) as error:
        got = ", ".join(map(repr, texts[:5]))
        raise InputError(argument, f"{ids.describe()}, as in the log", got, "write them as the log does") from error


def histories(text: str, items: IdMap) -> list[list[Any]]:
    """``"i1 i2;i3"`` -> one list of item ids a person, oldest first.

    Raises:
        InputError: a text that cannot be an item id.
    """
    return [typed(person.split(), items, "--histories").to_pylist() for person in text.split(";")]
