"""Ids as they are typed on a command line, turned into ids of the type that the graph was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from micgraph.ids import IdMap
from micgraph.schema import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def listed(text: str) -> list[str]:
    """``"u1, u2"`` -> ``["u1", "u2"]``."""
    return [part.strip() for part in text.split(",") if part.strip()]


def typed(texts: Sequence[str], ids: IdMap, argument: str) -> pa.Array:
    """Ids [n] in the type of the graph's own, known or not.

    Raises:
        InputError: a text that cannot be such an id.
    """
    import pyarrow as pa

    read, kind = _reader(ids.values.type)
    try:
        return pa.array([read(text) for text in texts], ids.values.type)
    except (ValueError, OverflowError, pa.ArrowException) as error:
        got = ", ".join(texts[:5])
        raise InputError(argument, f"ids that are {kind}, as in the log", got, "write them as the log does") from error


def histories(text: str, items: IdMap) -> list[list[Any]]:
    """``"i1 i2;i3"`` -> one list of item ids a person, oldest first.

    Raises:
        InputError: a text that cannot be an item id.
    """
    return [typed(person.split(), items, "--histories").to_pylist() for person in text.split(";")]


def _reader(kind: pa.DataType) -> tuple[Callable[[str], Any], str]:
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return int, "integers"
    return (UUID, "UUIDs") if isinstance(kind, pa.BaseExtensionType) else (str, "texts")
