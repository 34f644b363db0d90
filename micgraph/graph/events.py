"""Reading interaction logs: any table or file becomes one validated DuckDB table of events.

An event is ``user_id, item_id, timestamp`` (microseconds since 1970 UTC) and ``ordinal``, with ``session_id``,
``duration`` and ``weight`` where the source has them. The order of events is (timestamp, ordinal, item_id)
everywhere, so nothing depends on the order of rows or files, or on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from micgraph.disk import room
from micgraph.graph import column_types, feature_tables, ingest, naming
from micgraph.graph.duplicates import first_of_each_second
from micgraph.graph.engines import EngineName, check_engine
from micgraph.graph.files import Encoding, check_encoding
from micgraph.graph.ingest import Opened, Source
from micgraph.graph.moments import TimeUnit, time_sql
from micgraph.graph.naming import EVENT_COLUMNS, LOG_COLUMNS
from micgraph.graph.staging import count_reasons, positive_sql, settle, staged_sql
from micgraph.graph.watched import watched
from micgraph.schema import (
    DURATION,
    EVENT,
    ITEM_ID,
    ORDINAL,
    SESSION_ID,
    TIMESTAMP,
    USER_ID,
    WEIGHT,
    InputError,
)


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
        shards: the folder of Parquet files that ``table`` reads, where Spark has read the log, or None.
    """

    con: duckdb.DuckDBPyConnection
    table: str
    items: str | None = None
    users: str | None = None
    refused: dict[str, int] = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    source_kind: ingest.SourceKind = "path"
    shards: Path | None = None

    def __len__(self) -> int:
        return int(self.scalar("SELECT count(*) FROM {events}"))

    @property
    def columns(self) -> tuple[str, ...]:
        """The event columns that are present, in the order of ``EVENT_COLUMNS``."""
        found = ingest.types(self.con, self.table)
        return tuple(name for name in EVENT_COLUMNS if name in found)

    def sql(self, query: str, **parameters: Any) -> pa.Table:
        """Run a query whose ``{events}``, ``{items}`` and ``{users}`` stand for this log's tables.

        Args:
            query: SQL; ``$name`` is the value of the keyword ``name``.

        Raises:
            InputError: the query reads a feature table that the log does not have.
        """
        with room():
            return self._relation(query, parameters).to_arrow_table()

    def scalar(self, query: str, **parameters: Any) -> Any:
        """The one value of a query with one row and one column; placeholders as in :meth:`sql`."""
        return self._relation(query, parameters).fetchall()[0][0]

    def filter(self, where: str, manifest: dict[str, Any] | None = None) -> Log:
        """The events for which the SQL condition ``where`` holds, as a new log on the same connection."""
        name = ingest.fresh("events")
        columns = ", ".join(self.columns)
        self.con.execute(self._named(f"CREATE TABLE {name} AS SELECT {columns} FROM {{events}} AS e WHERE {where}"))
        return replace(self, table=name, manifest=manifest, shards=None)

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
        moment = "strftime(make_timestamp({}(timestamp)), '%Y-%m-%d %H:%M:%S')"
        counts = "count(*), count(DISTINCT user_id), count(DISTINCT item_id)"
        query = f"SELECT {counts}, {moment.format('min')}, {moment.format('max')} FROM {{events}}"
        events, users, items, first, last = self._relation(query, {}).fetchall()[0]
        lines = [f"Log: {events:,} events, {users:,} users, {items:,} items", f"  time     {first} to {last} (UTC)"]
        lines.append(f"  columns  {', '.join(self.columns)}")
        for name in ("items", "users"):
            if getattr(self, name) is not None:
                found = self.sql(f"SELECT * FROM {{{name}}} LIMIT 0").column_names
                lines.append(f"  {name:<8} {', '.join(found[:12])}{', ...' if len(found) > 12 else ''}")
        lines += [f"  refused  {count:,} ({reason})" for reason, count in self.refused.items()]
        return "\n".join(lines)

    def _relation(self, query: str, parameters: dict[str, Any]) -> duckdb.DuckDBPyRelation:
        return self.con.sql(self._named(query), params=parameters or None)

    def _named(self, query: str) -> str:
        for name in ("items", "users"):
            if f"{{{name}}}" in query and getattr(self, name) is None:
                raise InputError(name, f"a table of {name}", "none", f"read the log with {name}=")
            query = query.replace(f"{{{name}}}", str(getattr(self, name)))
        return query.replace("{events}", self.table)


def read_log(
    source: Source,
    items: Source | None = None,
    users: Source | None = None,
    columns: Mapping[str, str] | None = None,
    positive_events: Iterable[Any] | None = None,
    time_unit: TimeUnit = "auto",
    time_format: str | None = None,
    memory_limit: str | None = None,
    engine: EngineName = "duckdb",
    spark_master: str | None = None,
    item_columns: Iterable[str] | None = None,
    user_columns: Iterable[str] | None = None,
    encoding: Encoding | None = None,
) -> Log:
    """Read and validate an interaction log.

    Rows that cannot be events are dropped and counted in ``Log.refused``: null ids or times, times that cannot be
    parsed, events that are not positive, weights that are not above zero, and all but the first of the rows that
    share user, item and whole second. Beyond that ``weight`` has no effect yet, and ``duration`` has none at all:
    the log keeps both, a graph neither.

    Args:
        source: path, glob or list of paths to Parquet or CSV files, or a pandas, polars or Arrow table, with columns
            ``user_id, item_id, timestamp`` and optionally ``ordinal, session_id, duration, weight, event``.
        items: feature table, one row an ``item_id``, with any columns. Further rows of one id are dropped and counted.
        users: feature table, one row a ``user_id``.
        columns: our name -> the name in the tables, such as ``{"item_id": "click_article_id"}``.
        positive_events: values of ``event`` that count, such as ``["click"]``, ``[1]`` or ``[True]``, compared in
            the column's type; all rows count where it is None.
        time_unit: of numeric timestamps; ``"auto"`` tells it from their magnitude.
        time_format: of timestamps that are text, as for strptime, such as ``"%d/%m/%Y %H:%M"``. Without it they are
            read year first (ISO), and no other order of day and month is guessed.
        memory_limit: such as ``"4GB"``: the events lie in a file of the system's temporary folder (``TMPDIR``), gone
            with the log, and DuckDB takes half of the limit; see ``memory_limit`` of :class:`micgraph.BuildConfig`.
        engine: ``"spark"`` has Spark read, check and clean the events. The source must be Parquet then, its times
            numbers or timestamps. The clean events are Parquet files in the system's temporary folder, gone with the
            log, which every executor must see under the same path; feature tables are read by DuckDB.
        spark_master: see :class:`micgraph.BuildConfig`.
        item_columns: columns of the log that describe the item rather than the click, such as ``["title"]``, under the
            names that ``columns`` gives them, in place of ``items``. An item has the value that most of its rows have,
            of all rows, also those that a split holds out later.
        user_columns: the same of users. Held-out rows thus help decide a column that changes, such as a user's town:
            give such ones as ``users``, made of the rows before the cut.
        encoding: of CSV files that are not UTF-8: ``"latin-1"`` or ``"utf-16"`` (low byte first). Others, also
            Windows-1252, have to be converted to UTF-8.

    Raises:
        ConfigError: ``memory_limit`` is no size, or too small; no such engine.
        InputError: a source cannot be read, nothing usable is in it, no event is positive, or a feature table is given
            twice.
        MissingExtraError: Spark is asked for, and pyspark or Java is missing.
        SchemaError: a column is missing, has a type that cannot mean what it should, or mixes units of time; an entry
            of ``columns`` is misspelt, reversed or no name; ``items`` or ``users`` is the log itself.
    """
    check_engine(engine, spark_master)
    check_encoding(encoding)
    with room():
        con = ingest.connect(memory_limit)
    columns = naming.as_names(columns)
    ids = {"log": (USER_ID, ITEM_ID, SESSION_ID, TIMESTAMP), "items": (ITEM_ID,), "users": (USER_ID,)}
    given = {"log": source} | {name: value for name, value in (("items", items), ("users", users)) if value is not None}
    own = {"items": item_columns, "users": user_columns}
    feature_tables.check(given, own)
    if engine == "spark":
        from micgraph.graph.spark import reading

        files = reading.parquet_files(source, time_format)
    with ExitStack() as stack:
        tables = {
            name: stack.enter_context(ingest.opened(con, name, value, columns, ids[name], name == "log", encoding))
            for name, value in given.items()
        }
        naming.check(columns, [column for table in tables.values() for column in table.found])
        types = _event_types(con, tables["log"], columns, positive_events)
        if engine == "spark":
            log = reading.read_events(con, files, columns, types, positive_events, time_unit, spark_master)
        else:
            log = _read_events(con, tables["log"], types, positive_events, (time_unit, time_format))
        features = _features(log, tables, own, columns)
    return replace(log, items=features.get("items"), users=features.get("users"))


def _features(
    log: Log, tables: Mapping[str, Opened], own: Mapping[str, Iterable[str] | None], columns: Mapping[str, str]
) -> dict[str, str]:
    """The feature tables' names in the database: those that were given, and those of the log's own columns."""
    found = {
        name: feature_tables.of_log(log.con, name, tables["log"], wanted, columns)
        for name, wanted in own.items()
        if wanted is not None
    }
    for name, table in tables.items():
        if name != "log":
            found[name] = feature_tables.read(log.con, name, table, columns, log.table, log.refused)
    return found


def _read_events(
    con: duckdb.DuckDBPyConnection,
    source: Opened,
    types: dict[str, str],
    positive: Iterable[Any] | None,
    times: tuple[TimeUnit, str | None],
) -> Log:
    with ingest.readable("log"):
        staged = _stage(con, source.view, types, positive, times)
    refused = count_reasons(con, staged)
    read = len(Log(con, staged))
    log = Log(con, first_of_each_second(con, staged), refused=refused, source_kind=source.kind)
    settle(refused, read, len(log))
    return log


def _event_types(
    con: duckdb.DuckDBPyConnection, source: Opened, columns: Mapping[str, str], positive: Iterable[Any] | None
) -> dict[str, str]:
    """The columns of a log and their types; refuses one without those that it must have."""
    types, events = ingest.types(con, source.view), () if positive is None else (EVENT,)
    wanted = [USER_ID, ITEM_ID, TIMESTAMP, *(name for name in LOG_COLUMNS if name in columns), *events]
    naming.require("log", wanted, types, source.found, columns)
    return types


def _stage(
    con: duckdb.DuckDBPyConnection,
    view: str,
    types: dict[str, str],
    positive: Iterable[Any] | None,
    times: tuple[TimeUnit, str | None],
) -> str:
    """A table of all rows in our types, each with the reason why it is refused, or null."""
    value = {name: column_types.id_sql(con, view, "log", name, types[name]) for name in (USER_ID, ITEM_ID)}
    value[TIMESTAMP] = time_sql(con, view, TIMESTAMP, types[TIMESTAMP], *times)
    value[ORDINAL] = "CAST(0 AS BIGINT)"
    if ORDINAL in types:
        value[ORDINAL] = f"COALESCE({column_types.number_sql('log', ORDINAL, types[ORDINAL], 'BIGINT')}, 0)"
    if SESSION_ID in types:
        value[SESSION_ID] = column_types.id_sql(con, view, "log", SESSION_ID, types[SESSION_ID])
    for name in (DURATION, WEIGHT):
        if name in types:
            value[name] = column_types.number_sql("log", name, types[name], "DOUBLE")
    counts = None if positive is None else positive_sql(con, view, types[EVENT], positive)
    staged = ingest.fresh("staged")
    with watched(con, "reading the log"):
        con.execute(f"CREATE TABLE {staged} AS {staged_sql(view, value, counts)}")
    return staged
