"""Reading a log with Spark: Parquet files that anybody wrote become Parquet files of clean events."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from micgraph.graph import ingest
from micgraph.graph.duplicates import ranked_sql
from micgraph.graph.events import Log
from micgraph.graph.files import found_files, is_path
from micgraph.graph.moments import TimeUnit
from micgraph.graph.naming import LOG_COLUMNS
from micgraph.graph.scratch import Scratch
from micgraph.graph.spark.columns import NANOS, check_ids, counts_sql, event_sql
from micgraph.graph.spark.session import Engine, address, connected, quoted
from micgraph.graph.staging import count_reasons, settle, staged_sql
from micgraph.schema import ITEM_ID, SESSION_ID, USER_ID, InputError

_AS_LONGS = "spark.sql.legacy.parquet.nanosAsLong"


def parquet_files(source: Any, time_format: str | None) -> list[str]:
    """The files that Spark is to read.

    Raises:
        InputError: they are no Parquet files, or their times are said to be text.
    """
    remedy = 'convert the log to Parquet with numbers or timestamps, or read it with engine="duckdb"'
    if not is_path(source):
        raise InputError("log", "paths of Parquet files with Spark", type(source).__name__, remedy)
    files, kind = found_files("log", source)
    if kind != "parquet" or time_format is not None:
        got = f"{kind} files" if kind != "parquet" else f"time_format={time_format!r}"
        raise InputError("log", "Parquet files without times as text with Spark", got, remedy)
    return files


def read_events(
    con: duckdb.DuckDBPyConnection,
    files: list[str],
    columns: Mapping[str, str],
    types: Mapping[str, str],
    positive: Iterable[Any] | None,
    unit: TimeUnit,
    master: str | None,
) -> Log:
    """Check and clean events with Spark, see :func:`micgraph.read_log`.

    Args:
        con: where the log lives; the clean files are gone with it.
        files: Parquet files.
        columns: our name -> the files' name.
        types: DuckDB's types of the columns, under our names.
        positive: events that count, or None.
        unit: of numeric timestamps.
        master: of Spark, or None.
    """
    check_ids(types)
    scratch = Scratch(Path(tempfile.gettempdir()), "micgraph-events")
    weakref.finalize(con, scratch.remove)
    shards = scratch.path / "events"
    named = {columns.get(name, name): name for name in LOG_COLUMNS if name in types}
    with (
        connected(master, steps=1) as engine,
        _rows(engine, files, named, not NANOS.isdisjoint(types.values())) as view,
    ):
        value = event_sql(engine, view, types, unit)
        counts = None if positive is None else counts_sql(engine, view, types, positive)
        staged = f"({staged_sql(view, value, counts)})"
        refused = count_reasons(engine, staged)
        read = int(engine.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0])
        ranked = ranked_sql(list(value), f"FROM {staged} AS s WHERE reason IS NULL")
        engine.write(f"SELECT {', '.join(value)} FROM ({ranked}) AS r WHERE place = 1", shards, "reading the log")
    log = Log(con, _view(con, shards, value, types), refused=refused, shards=shards)
    settle(refused, read, len(log))
    return log


@contextmanager
def _rows(engine: Engine, files: list[str], named: Mapping[str, str], nanos: bool) -> Iterator[str]:
    """A view of Spark on the files' rows under our names."""
    from pyspark.errors import PySparkException

    conf, view = engine.session.conf, ingest.fresh("micgraph_log")
    before = conf.get(_AS_LONGS, None)
    if nanos:
        conf.set(_AS_LONGS, "true")
    try:
        frame = engine.session.read.option("mergeSchema", "true").parquet(*map(address, files))
        frame.selectExpr(*(f"{quoted(theirs)} AS {ours}" for theirs, ours in named.items())).createTempView(view)
        yield view
    except PySparkException as error:
        got = str(error).split("\n")[0]
        remedy = 'check that every executor sees the files, or read them with engine="duckdb"'
        raise InputError("log", "Parquet files that Spark reads", got, remedy) from error
    finally:
        engine.session.catalog.dropTempView(view)
        if nanos:
            conf.set(_AS_LONGS, before) if before is not None else conf.unset(_AS_LONGS)


def _view(con: duckdb.DuckDBPyConnection, shards: Path, names: Iterable[str], types: Mapping[str, str]) -> str:
    """A view of DuckDB on clean events, with ids of the types that DuckDB reads them in."""
    kept = {name: types[name] for name in (USER_ID, ITEM_ID, SESSION_ID) if types.get(name) in ingest.INTEGERS}
    select = ", ".join(f"CAST({name} AS {kept[name]}) AS {name}" if name in kept else name for name in names)
    view = ingest.fresh("events")
    con.execute(f"CREATE VIEW {view} AS SELECT {select} FROM {ingest.parquet(shards)}")
    return view
