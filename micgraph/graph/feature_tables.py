"""Feature tables of items and users: read from a table of their own, or made of the log's own columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from micgraph.graph import column_types, ingest, naming
from micgraph.graph.ingest import Opened
from micgraph.schema import ITEM_ID, USER_ID, InputError, SchemaError, did_you_mean

KEYS = {"items": ITEM_ID, "users": USER_ID}
OPTIONS = {"items": "item_columns", "users": "user_columns"}


def check(given: Mapping[str, Any], own: Mapping[str, Iterable[str] | None]) -> None:
    """Refuse feature tables that contradict the log or what is asked of its columns.

    Args:
        given: ``log``, ``items`` and ``users`` -> the sources, those that there are.
        own: ``items`` and ``users`` -> names of the log's columns, or None.

    Raises:
        InputError: columns are no list of names, or there is a table as well.
        SchemaError: a feature table is the log itself.
    """
    for name, columns in own.items():
        option = OPTIONS[name]
        if name in given and _same(given[name], given["log"]):
            remedy = f'leave {name}= out and name the columns that describe {name}: {option}=["title"]'
            raise SchemaError(name, f"a table with a row for each {KEYS[name]}", "the log itself", remedy)
        if columns is None:
            continue
        if isinstance(columns, str) or not isinstance(columns, Collection):
            raise InputError(option, "a list of columns", repr(columns), f"write it as [{columns!r}]")
        if name in given:
            raise InputError(option, f"no {name}= beside it", "both", "leave one of the two out")


def read(
    con: duckdb.DuckDBPyConnection,
    name: str,
    source: Opened,
    columns: Mapping[str, str],
    log: str,
    refused: dict[str, int],
) -> str:
    """Copy a feature table, one row an id: the first in the order of the columns, whatever the order of rows.

    Args:
        name: ``items`` or ``users``.
        columns: our name -> the source's name.
        log: the table of events, whose ids it has to match.
        refused: gets the rows that are left out.

    Returns:
        the copy's name.

    Raises:
        SchemaError: there is no id column, or its type is not the log's.
    """
    key, table, view = KEYS[name], ingest.fresh(name), source.view
    types = ingest.types(con, view)
    naming.require(name, (key,), types, source.found, columns)
    with ingest.readable(name):
        value = column_types.id_sql(con, view, name, key, types[key])
        families = [column_types.family(ingest.types(con, log)[key]), column_types.family(types[key])]
        if families == ["text", "integer"]:  # a CSV file does not tell text from integers
            value = f"CAST({value} AS VARCHAR)"
        others = [ingest.quoted(column) for column in types if column != key]
        order = f" ORDER BY {', '.join(others)}" if others else ""
        place = f"row_number() OVER (PARTITION BY {key}{order}) AS micgraph_place"
        ranked = f"SELECT * REPLACE ({value} AS {key}), {place} FROM {view} WHERE {value} IS NOT NULL"
        chosen = f"SELECT {', '.join([key, *others])} FROM ({ranked}) WHERE micgraph_place = 1"
        con.execute(f"CREATE TABLE {table} AS {chosen}")
    read, null = con.execute(f"SELECT count(*), count(*) - count({value}) FROM {view}").fetchall()[0]
    ours, theirs = (column_types.family(ingest.types(con, t)[key]) for t in (log, table))
    kept = con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
    if kept and ours != theirs:
        raise SchemaError(f"{name}.{key}", f"{ours} ids as in the log", f"{theirs} ids", "convert one of the two")
    for reason, count in (("null id", null), ("duplicate id", read - null - kept)):
        if count:
            refused[f"{name}: {reason}"] = count
    return table


def of_log(
    con: duckdb.DuckDBPyConnection, name: str, source: Opened, wanted: Iterable[str], columns: Mapping[str, str]
) -> str:
    """A feature table of columns of the log: each id's most frequent value, of equally frequent ones the least.

    All rows count, also those that are refused as events: a row without a user still has the title of its item. So do
    those that a split holds out later: harmless for titles, but they help decide a user's column that changes.

    Args:
        name: ``items`` or ``users``.
        source: the log.
        wanted: its columns, under our names.
        columns: our name -> the source's name.

    Returns:
        the table's name.

    Raises:
        SchemaError: the log has no such column, or it is one of the clicks.
    """
    key, table, types = KEYS[name], ingest.fresh(name), ingest.types(con, source.view)
    features = list(dict.fromkeys(wanted))
    for column in features:
        _check_column(name, column, types, columns)
    with ingest.readable(OPTIONS[name]):
        value = column_types.id_sql(con, source.view, "log", key, types[key])
        rows = f"(SELECT * REPLACE ({value} AS {key}) FROM {source.view} WHERE {value} IS NOT NULL)"
        chosen = " ".join(f"LEFT JOIN ({_most_frequent(rows, key, column)}) USING ({key})" for column in features)
        listed = ", ".join([key, *map(ingest.quoted, features)])
        con.execute(f"CREATE TABLE {table} AS SELECT {listed} FROM (SELECT DISTINCT {key} FROM {rows}) {chosen}")
    return table


def _most_frequent(rows: str, key: str, column: str) -> str:
    name = ingest.quoted(column)
    place = f"row_number() OVER (PARTITION BY {key} ORDER BY count(*) DESC, {name}) AS micgraph_place"
    counted = f"SELECT {key}, {name}, {place} FROM {rows} WHERE {name} IS NOT NULL GROUP BY {key}, {name}"
    return f"SELECT {key}, {name} FROM ({counted}) WHERE micgraph_place = 1"


def _check_column(name: str, column: str, types: Mapping[str, str], columns: Mapping[str, str]) -> None:
    option, ours = OPTIONS[name], {theirs: ours for ours, theirs in columns.items()}
    if column in naming.LOG_COLUMNS:
        remedy = "leave it out: it belongs to the click"
        raise SchemaError(option, f"columns that describe {name}", repr(column), remedy)
    if column not in types:
        near = did_you_mean(str(column), types, f"name some of {', '.join(types)}")
        remedy = f"write {ours[column]!r}, as columns= calls it" if column in ours else near
        raise SchemaError(option, "columns of the log", repr(column), remedy)


def _same(table: Any, log: Any) -> bool:
    if isinstance(table, (str, Path)) and isinstance(log, (str, Path)):
        return Path(table) == Path(log)
    return table is log
