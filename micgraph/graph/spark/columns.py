"""Columns of a log in Spark's SQL, with the same values that DuckDB gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from micgraph.graph import column_types
from micgraph.graph.column_types import INTEGERS, Database
from micgraph.graph.moments import TimeUnit, check_unit, unit_of
from micgraph.graph.nans import FLOATS
from micgraph.graph.spark.session import literal
from micgraph.graph.staging import positive_sql
from micgraph.schema import DURATION, EVENT, ITEM_ID, ORDINAL, SESSION_ID, TIMESTAMP, USER_ID, WEIGHT, SchemaError

NANOS = frozenset({"TIMESTAMP_NS", "TIMESTAMPTZ_NS"})
_SCALED = {
    "s": "CAST({} AS DECIMAL(20, 0)) * 1000000",
    "ms": "CAST({} AS DECIMAL(20, 0)) * 1000",
    "us": "{}",
    "ns": "rint(CAST({} AS DOUBLE) / 1000)",
}
_SCALED_FLOATS = {"s": "rint({} * 1000000)", "ms": "rint({} * 1000)", "us": "rint({})", "ns": "rint({} / 1000)"}
_COMMON = frozenset({"VARCHAR", "BOOLEAN", "DECIMAL"} | INTEGERS | FLOATS)
_REMEDY = 'convert the column, or read the log with engine="duckdb"'


def check_ids(types: Mapping[str, str]) -> None:
    """Refuse ids that Spark cannot even open.

    Raises:
        SchemaError: they are UUIDs.
    """
    for name in (USER_ID, ITEM_ID, SESSION_ID):
        if types.get(name) == "UUID":
            raise SchemaError(f"log.{name}", "integers or strings with Spark", "UUID", _REMEDY)


def event_sql(con: Database, view: str, types: Mapping[str, str], unit: TimeUnit) -> dict[str, str]:
    """Our column -> SQL of its values, in the order of the columns of a log.

    Args:
        con: Spark.
        view: the rows, under our names.
        types: DuckDB's types of the columns.
        unit: of numeric timestamps.

    Raises:
        SchemaError: a column has a type that cannot mean what it should, or one that Spark does not read alike.
    """
    value = {name: column_types.id_sql(con, view, "log", name, types[name]) for name in (USER_ID, ITEM_ID)}
    value[TIMESTAMP] = _time_sql(con, view, types[TIMESTAMP], unit)
    value[ORDINAL] = "CAST(0 AS BIGINT)"
    if ORDINAL in types:
        value[ORDINAL] = f"COALESCE({_whole_sql(ORDINAL, types[ORDINAL])}, 0)"
    if SESSION_ID in types:
        value[SESSION_ID] = column_types.id_sql(con, view, "log", SESSION_ID, types[SESSION_ID])
    for name in (DURATION, WEIGHT):
        if name in types:
            value[name] = column_types.number_sql("log", name, types[name], "DOUBLE")
    return value


def counts_sql(con: Database, view: str, types: Mapping[str, str], positive: Iterable[Any]) -> str:
    """The condition that a row's event counts.

    Raises:
        InputError: no row has a positive event, or ``positive`` is no list.
        SchemaError: the events are of a type that Spark does not write as DuckDB does.
    """
    if types[EVENT] not in _COMMON:
        raise SchemaError("log.event", "texts, numbers or booleans with Spark", types[EVENT], _REMEDY)
    return positive_sql(con, view, types[EVENT], positive, literal)


def _whole_sql(name: str, kind: str) -> str:
    """Whole numbers; others are rounded as DuckDB does, Spark would cut them off."""
    column_types.number_sql("log", name, kind, "BIGINT")
    rounded = {"DECIMAL": f"round({name}, 0)"} | dict.fromkeys(FLOATS, f"rint({name})")
    return f"TRY_CAST({rounded.get(kind, name)} AS BIGINT)"


def _time_sql(con: Database, view: str, kind: str, unit: TimeUnit) -> str:
    """Microseconds since 1970 UTC; times without a zone are UTC, whatever the session's zone."""
    check_unit(unit)
    if kind == "DATE":
        return f"unix_date({TIMESTAMP}) * 86400000000"
    if kind in NANOS:  # which Spark reads as a number
        return f"CAST(round(CAST({TIMESTAMP} AS DECIMAL(20, 0)) / 1000) AS BIGINT)"
    if kind in ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"):
        return f"unix_micros({TIMESTAMP})"
    if kind.startswith("TIMESTAMP"):
        return f"timestampdiff(MICROSECOND, TIMESTAMP_NTZ'1970-01-01 00:00:00', {TIMESTAMP})"
    if kind not in INTEGERS | FLOATS | {"DECIMAL"}:
        raise SchemaError(f"log.{TIMESTAMP}", "numbers or timestamps with Spark", kind, _REMEDY)
    number = TIMESTAMP if kind in INTEGERS else f"CAST({TIMESTAMP} AS DOUBLE)"
    known = unit_of(con, view, TIMESTAMP, number) if unit == "auto" else unit
    scaled = (_SCALED if kind in INTEGERS else _SCALED_FLOATS)[known].format(number)
    return f"TRY_CAST({scaled} AS BIGINT)"
