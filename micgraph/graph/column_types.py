"""What a column of a type may mean, as SQL that every engine takes: ids, numbers, and values as texts."""

from __future__ import annotations

from typing import Any, Protocol

from micgraph.graph.nans import FLOATS, without_nan
from micgraph.schema import SchemaError

INTEGERS = {f"{sign}{width}INT" for sign in ("", "U") for width in ("TINY", "SMALL", "BIG")}
INTEGERS |= {"INTEGER", "UINTEGER"}
NULLS = {"NULL", '"NULL"'}


class Database(Protocol):
    """What runs SQL: a connection of DuckDB, or :class:`micgraph.graph.spark.session.Engine`."""

    def execute(self, query: str, /) -> Any:
        """Run a query; the result's ``fetchall()`` gives its rows."""


def id_sql(con: Database, view: str, argument: str, name: str, kind: str) -> str:
    """SQL for an id column: integers, strings and UUIDs as they are, categories as text, whole floats as integers.

    Raises:
        SchemaError: the column has another type.
    """
    if kind in INTEGERS or kind in ("VARCHAR", "UUID"):
        return name
    if kind == "ENUM":
        return f"CAST({name} AS VARCHAR)"
    if kind in NULLS:
        return f"CAST({name} AS BIGINT)"
    if kind in FLOATS:  # what pandas makes of integers with gaps
        number = without_nan(name, kind)
        query = f"SELECT bool_and({number} IS NULL OR ({name} = floor({name}) AND abs({name}) < 9e15)) FROM {view}"
        if con.execute(query).fetchall()[0][0] is not False:
            return f"CAST({number} AS BIGINT)"
    raise SchemaError(f"{argument}.{name}", "integers, strings or UUIDs", kind, "convert the column")


def family(kind: str) -> str:
    """The family of an id type; ids of one family can be equal."""
    return "integer" if kind in INTEGERS else {"VARCHAR": "text"}.get(kind, kind)


def number_sql(argument: str, name: str, kind: str, target: str) -> str:
    """SQL for a numeric column as ``target`` (BIGINT or DOUBLE).

    Raises:
        SchemaError: the column is not numeric.
    """
    if kind in INTEGERS or kind in FLOATS or kind == "DECIMAL" or kind in NULLS:
        return f"TRY_CAST({without_nan(name, kind) if target == 'BIGINT' else name} AS {target})"
    remedy = "convert the column" + (", such as '1,000' to 1000" if kind == "VARCHAR" else "")
    raise SchemaError(f"{argument}.{name}", "numbers", kind, remedy)


def value_text_sql(name: str, kind: str) -> str:
    """SQL for a column's values as text, whole numbers without a fraction: what :func:`value_text` is compared with."""
    text = f"CAST({name} AS STRING)"  # as every engine calls it
    if kind in FLOATS or kind == "DECIMAL":
        whole = f"{name} = floor({name}) AND abs({name}) < 9e15"
        return f"CASE WHEN {whole} THEN CAST(CAST({name} AS BIGINT) AS STRING) ELSE {text} END"
    return text


def value_text(value: Any, kind: str) -> str:
    """A Python or numpy value as :func:`value_text_sql` writes it in a column of type ``kind``."""
    value = value.item() if hasattr(value, "item") else value
    if kind == "BOOLEAN" and value in (0, 1):
        return "true" if value else "false"
    if kind != "VARCHAR" and isinstance(value, (bool, float)) and value == value // 1:
        return str(int(value))
    return str(value)
