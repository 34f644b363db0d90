"""Reading interaction logs: any table or file becomes one validated DuckDB table of events.

An event is ``user_id, item_id, timestamp`` (microseconds since 1970 UTC) and ``ordinal``, with ``session_id``,
``duration`` and ``weight`` where the source has them. The order of events is (timestamp, ordinal, item_id)
everywhere, so nothing depends on the order of rows or files, or on the number of threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import pyarrow as pa

from micgraph.graph import ingest
from micgraph.schema import (
    DURATION,
    ITEM_ID,
    ORDINAL,
    SESSION_ID,
    TIMESTAMP,
    USER_ID,
    WEIGHT,
    InputError,
)

EVENT_COLUMNS = (USER_ID, ITEM_ID, TIMESTAMP, ORDINAL, SESSION_ID, DURATION, WEIGHT)
SECOND_SQL = "CAST(FLOOR(timestamp / 1000000.0) AS BIGINT)"
"""The whole second of an event: what a graph keeps of its time."""

_names = itertools.count()


@dataclass(frozen=True)
class Log:
    """Validated events in DuckDB, with the feature tables that came along.

    Attributes:
        con: the connection that holds the tables.
        table: name of the events table; columns as in ``EVENT_COLUMNS``, the last three only where given.
        items, users: names of the feature tables (``item_id`` or ``user_id``, each id once, and any columns), or None.
        refused: reason -> number of rows that reading dropped.
        manifest: how :func:`micgraph.split` made this log, or None.
        source_kind: what the caller read from, so that results can be given back in kind.
    """

    con: duckdb.DuckDBPyConnection
    table: str
    items: str | None = None
    users: str | None = None
    refused: dict[str, int] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    source_kind: ingest.SourceKind = "path"

    def __len__(self) -> int:
        return self.scalar("SELECT count(*) FROM {events}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The event columns that are present, in the order of ``EVENT_COLUMNS``."""
        return ingest.present(self.con, self.table, EVENT_COLUMNS)

    def sql(self, query: str, **parameters: Any) -> pa.Table:
        """Run a query whose ``{events}``, ``{items}`` and ``{users}`` stand for this log's tables.

        Args:
            query: SQL; ``$name`` is the value of the keyword ``name``.

        Raises:
            InputError: the query reads a feature table that the log does not have.
        """
        return self._run(query, parameters).to_arrow_table()

    def scalar(self, query: str, **parameters: Any) -> Any:
        """The one value of a query with one row and one column; placeholders as in :meth:`sql`."""
        row = self._run(query, parameters).fetchone()
        return None if row is None else row[0]

    def filter(self, where: str, manifest: dict[str, Any] | None = None) -> Log:
        """The events for which the SQL condition ``where`` holds, as a new log on the same connection."""
        name = fresh("events")
        columns = ", ".join(self.columns)
        self._run(f"CREATE TABLE {name} AS SELECT {columns} FROM {{events}} AS e WHERE {where}", {})
        return replace(self, table=name, manifest=manifest)

    def arrow(self) -> pa.Table:
        """The events ordered by (user_id, timestamp, ordinal, item_id)."""
        columns = ", ".join(self.columns)
        return self.sql(f"SELECT {columns} FROM {{events}} ORDER BY user_id, timestamp, ordinal, item_id")

    def unmatched(self) -> dict[str, int]:
        """How many rows of each feature table have no event, and how many ids of the events have no row."""
        counts = {}
        for table, key in (("items", ITEM_ID), ("users", USER_ID)):
            if getattr(self, table) is not None:
                ids, known = f"(SELECT DISTINCT {key} FROM {{events}})", f"{{{table}}}"
                for label, left, right in (("rows without events", known, ids), ("ids without a row", ids, known)):
                    query = f"SELECT count(*) FROM {left} AS l ANTI JOIN {right} AS r ON l.{key} = r.{key}"
                    counts[f"{table}: {label}"] = self.scalar(query)
        return counts

    def __repr__(self) -> str:
        query = "SELECT count(*), count(DISTINCT user_id), count(DISTINCT item_id), min({t}), max({t}) FROM {events}"
        moment = "strftime(make_timestamp(timestamp), '%Y-%m-%d %H:%M:%S')"
        row = self._run(query.replace("{t}", moment), {}).fetchone()
        events, users, items, first, last = row if row is not None else (0, 0, 0, None, None)
        lines = [f"Log: {events:,} events, {users:,} users, {items:,} items", f"  time     {first} to {last} (UTC)"]
        lines.append(f"  columns  {', '.join(self.columns)}")
        for name in ("items", "users"):
            if getattr(self, name) is not None:
                found = self.sql(f"SELECT * FROM {{{name}}} LIMIT 0").column_names
                lines.append(f"  {name:<8} {', '.join(found[:12])}{', ...' if len(found) > 12 else ''}")
        lines += [f"  refused  {count:,} ({reason})" for reason, count in self.refused.items()]
        return "\n".join(lines)

    def _run(self, query: str, parameters: dict[str, Any]) -> duckdb.DuckDBPyConnection:
        for name in ("items", "users"):
            if f"{{{name}}}" in query and getattr(self, name) is None:
                raise InputError(name, f"a table of {name}", "none", f"read the log with {name}=")
            query = query.replace(f"{{{name}}}", str(getattr(self, name)))
        return self.con.execute(query.replace("{events}", self.table), parameters or None)


def fresh(prefix: str) -> str:
    """A table name that nothing else on any connection uses."""
    return f"{prefix}_{next(_names)}"


def read_log(
    source: ingest.Source,
    items: ingest.Source | None = None,
    users: ingest.Source | None = None,
    columns: Mapping[str, str] | None = None,
    positive_events: Sequence[Any] | None = None,
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto",
) -> Log:
    """Read and validate a log."""
    raise NotImplementedError
