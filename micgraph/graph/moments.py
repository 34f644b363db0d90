"""Columns of times, in any type and unit, as SQL for microseconds since 1970 UTC."""

from __future__ import annotations

from typing import Any, Literal, get_args

import duckdb

from micgraph.graph.column_types import INTEGERS, NULLS, Database
from micgraph.graph.ingest import literal
from micgraph.graph.nans import FLOATS, without_nan
from micgraph.schema import InputError, SchemaError

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]

_TO_MICROS = {"s": "* 1000000", "ms": "* 1000", "us": "* 1", "ns": "/ 1000"}
_LEAST: dict[TimeUnit, float] = {"ns": 1e17, "us": 1e14, "ms": 1e11, "s": 0}  # least size that is read as this unit
_ISO = r"^\s*\d{4}[-/]"  # any other order of day, month and year would be a guess
_MANY = 0.1  # where less than this share of the texts can be read, the column is in another format
_EXAMPLE = "%d/%m/%Y %H:%M"


def time_sql(
    con: duckdb.DuckDBPyConnection, view: str, name: str, kind: str, unit: TimeUnit, time_format: str | None = None
) -> str:
    """SQL for a time column as microseconds since 1970 UTC, null where it cannot be parsed.

    Numbers are read in the given unit, or in the one that their magnitude tells; text may hold numbers or ISO times,
    or times in ``time_format`` where that is given; times without a zone are UTC.

    Raises:
        InputError: no such unit, or a format that is none.
        SchemaError: the column has a type without times, mixes units, or hardly anything in it can be parsed.
    """
    check_unit(unit)
    if time_format is not None:
        _check_format(con, time_format)
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"epoch_us(TRY_CAST({name} AS TIMESTAMPTZ))"
    if time_format is not None and (kind == "VARCHAR" or kind in INTEGERS):  # 20240304 may be a day
        parsed = f"epoch_us(try_strptime(CAST({name} AS VARCHAR), {literal(time_format)}))"
        return _legible(con, view, name, parsed, f"times in the format {time_format!r}", "check time_format=")
    number = _number_sql(name, kind)
    unit = unit_of(con, view, name, number) if unit == "auto" else unit
    scaled = f"TRY_CAST({number} {_TO_MICROS[unit]} AS BIGINT)"
    if kind != "VARCHAR":
        return scaled
    iso = f"CASE WHEN regexp_matches({name}, '{_ISO}') THEN epoch_us(TRY_CAST({name} AS TIMESTAMPTZ)) END"
    remedy = f'write ISO times, or name their format, such as time_format="{_EXAMPLE}"'
    return _legible(con, view, name, f"COALESCE({scaled}, {iso})", "times that can be parsed", remedy)


def check_unit(unit: Any) -> None:
    """Refuse what is no unit of time.

    Raises:
        InputError: it is none.
    """
    if unit not in get_args(TimeUnit):
        raise InputError("time_unit", f"one of {', '.join(get_args(TimeUnit))}", repr(unit), "choose one of these")


def _check_format(con: duckdb.DuckDBPyConnection, time_format: Any) -> None:
    remedy = f'write it as "{_EXAMPLE}"'
    if not isinstance(time_format, str) or "%" not in time_format:
        raise InputError("time_format", "a strptime format", repr(time_format), remedy)
    try:
        con.execute(f"SELECT try_strptime('', {literal(time_format)})")
    except duckdb.Error as error:
        raise InputError("time_format", "a strptime format", repr(time_format), remedy) from error


def _number_sql(name: str, kind: str) -> str:
    if kind in INTEGERS or kind in NULLS:
        return f"CAST({name} AS HUGEINT)"
    if kind in FLOATS or kind == "DECIMAL":
        return f"CAST({without_nan(name, kind)} AS DOUBLE)"
    if kind == "VARCHAR":
        return f"TRY_CAST({name} AS DECIMAL(28, 6))"
    raise SchemaError(f"log.{name}", "times, numbers or text", kind, "convert the column")


def _legible(con: duckdb.DuckDBPyConnection, view: str, name: str, parsed: str, expected: str, remedy: str) -> str:
    query = f"SELECT count({name}), count({parsed}), min({name}) FILTER ({parsed} IS NULL) FROM {view}"
    given, read, example = con.execute(query).fetchall()[0]
    if read < _MANY * given:
        raise SchemaError(f"log.{name}", expected, f"text such as {str(example)!r}", remedy)
    return parsed


def unit_of(con: Database, view: str, name: str, number: str) -> TimeUnit:
    """The unit that the numbers' magnitude tells; zero is the same time in every unit.

    Args:
        number: SQL of the column ``name`` as a number.

    Raises:
        SchemaError: there are several units.
    """
    size = f"CAST(abs({number}) AS DOUBLE)"
    query = f"SELECT min({size}), max({size}) FROM {view} WHERE {number} <> 0 AND {size} < 1e22"
    low, high = con.execute(query).fetchall()[0]
    if low is None:
        return "s"
    first, last = (next(unit for unit, least in _LEAST.items() if value >= least) for value in (low, high))
    if first != last:
        got = f"some that look like {first} ({low:.0f}) and some that look like {last} ({high:.0f})"
        remedy = "bring them to one unit, or name it with time_unit="
        raise SchemaError(f"log.{name}", "numbers in one unit", got, remedy)
    return first
