"""Rows of features for a graph that is built: columns that it has, with values that its fields can take.

A build makes a field of whatever column it is given. What comes later, for a model that is trained, cannot become one,
so a column that the graph does not have is refused and not left out: it may be a misspelt one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from micgraph.graph.catalog import IN_WORDS, plain
from micgraph.graph.fields import Fields, Kind
from micgraph.schema import SchemaError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 60
"""Characters of a value in an error."""


def check_rows(
    argument: str, table: pa.Table, fields: Fields, known: Iterable[str], types: pa.Schema | None = None
) -> None:
    """Refuse rows of which something would be lost or misread.

    Args:
        argument: how errors name the table.
        table: as :func:`micgraph.graph.catalog.readable` gives it.
        fields: the graph's; the id comes first.
        known: columns that the graph was given. Others may be there without a value.
        types: of the columns that the graph was given, where it has kept them.

    Raises:
        SchemaError: a column that the graph does not have, or one with a value that its field cannot take: the error
            names the column, the row and the value.
    """
    had = list(known)
    if strange := [name for name in table.column_names if name not in had and table[name].null_count < len(table)]:
        remedy = did_you_mean(strange[0], had, "leave it out, or build a graph with it and train anew")
        got = ", ".join(map(repr, strange))
        raise SchemaError(argument, f"columns that the graph was built with ({', '.join(had)})", got, remedy)
    id_name, *others = fields
    for name in (name for name in others if name in table.column_names):
        kind = fields[name].kind
        if types is not None and name in types.names:
            _check_times(f"{argument}.{name}", table.schema.field(name).type, types.field(name).type)
        _check_values(f"{argument}.{name}", table, name, kind, id_name)


def first_refused(n: int, read: Callable[[int], Any], errors: tuple[type[Exception], ...]) -> int:
    """The row because of which ``n`` rows cannot be read, from 0: ``read`` takes how many of the first rows to read."""
    fine, wrong = 0, n
    while wrong - fine > 1:
        middle = (fine + wrong) // 2
        try:
            read(middle)
            fine = middle
        except errors:
            wrong = middle
    return wrong - 1


def shown(value: Any) -> str:
    """A value for an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _check_times(place: str, new: pa.DataType, old: pa.DataType) -> None:
    """Refuse times where the graph was given numbers, and the other way: as numbers they are microseconds."""
    import pyarrow.types as t

    if not t.is_null(new) and t.is_temporal(new) != t.is_temporal(old) and "null" not in (str(new), str(old)):
        raise SchemaError(place, f"{old}, as in the graph", str(new), "convert the column")


def _check_values(place: str, table: pa.Table, name: str, kind: Kind, id_name: str) -> None:
    import pyarrow as pa

    column = table[name]
    try:
        plain(column, kind)
        return
    except pa.ArrowException as error:
        cause = error
    try:
        plain(column.slice(0, 0), kind)
    except pa.ArrowException:
        raise SchemaError(place, IN_WORDS[kind], str(column.type), "convert the column") from cause
    at = first_refused(len(column), lambda n: plain(column.slice(0, n), kind), (pa.ArrowException,))
    whose = f" ({id_name} {table[id_name][at].as_py()!r})" if id_name in table.column_names else ""
    got = f"{shown(column[at].as_py())} in row {at}, counted from 0{whose}"
    raise SchemaError(place, IN_WORDS[kind], got, "correct the value, or leave it out as None") from cause
