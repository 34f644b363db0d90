"""Clicks before the test, which tell the cold users from the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from micgraph.graph import column_types, ingest, naming
from micgraph.graph.events import Log
from micgraph.graph.ingest import Source
from micgraph.online.reading import ALSO, Rows, among, renamed
from micgraph.schema import EVENT, USER_ID, InputError, SchemaError

HISTORY = "history"


def clicks_before(
    con: duckdb.DuckDBPyConnection,
    history: Source | Log,
    columns: Mapping[str, str],
    clicks: tuple[Any, ...],
    rows: Rows,
) -> str:
    """A table of ``user_id`` and ``earlier``, the user's clicks before the test.

    Args:
        clicks: values of ``event`` that are clicks, where the history has that column.
        rows: of the log, for its users.

    Raises:
        InputError: the history cannot be read, or none of the log's users is in it.
        SchemaError: it has no ids of users, or ids of another type than the log.
    """
    name = ingest.fresh("earlier")
    if isinstance(history, Log):
        con.register(name, history.sql(f"SELECT {USER_ID}, count(*) AS earlier FROM {{events}} GROUP BY {USER_ID}"))
    else:
        texts = (USER_ID, EVENT, ALSO[USER_ID])
        with ingest.opened(con, HISTORY, history, columns, texts) as source, ingest.readable(HISTORY):
            _count(con, renamed(con, source.view), name, (source.found, columns), clicks)
    _check_ids(con, name, rows)
    return name


def _count(
    con: duckdb.DuckDBPyConnection,
    view: str,
    name: str,
    naming_of: tuple[tuple[str, ...], Mapping[str, str]],
    clicks: tuple[Any, ...],
) -> None:
    types = ingest.types(con, view)
    naming.require(HISTORY, (USER_ID,), types, *naming_of)
    user = column_types.id_sql(con, view, HISTORY, USER_ID, types[USER_ID])
    counted = f"WHERE {among(types[EVENT], clicks)}" if EVENT in types else ""
    query = f"SELECT {user} AS {USER_ID} FROM {view} {counted}"
    con.execute(f"CREATE TABLE {name} AS SELECT {USER_ID}, count(*) AS earlier FROM ({query}) GROUP BY {USER_ID}")


def _check_ids(con: duckdb.DuckDBPyConnection, name: str, rows: Rows) -> None:
    family = column_types.family(ingest.types(con, name)[USER_ID])
    if family != rows.family:
        expected, got = f"{rows.family} ids as in the log", f"{family} ids"
        raise SchemaError(f"{HISTORY}.{USER_ID}", expected, got, "convert one of the two")
    known = f"SELECT {USER_ID} FROM {rows.query} SEMI JOIN {name} USING ({USER_ID}) LIMIT 1"
    if not con.execute(known).fetchall():
        remedy = "pass the clicks before the test, with the log's ids"
        raise InputError(HISTORY, "clicks of users of the log", "no such user", remedy)
