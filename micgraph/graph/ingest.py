"""From what a caller hands in (paths or tables) to DuckDB relations with checked types and our column names."""

from __future__ import annotations

import glob
import itertools
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from micgraph.disk import is_full, no_room
from micgraph.graph import csv_faults, frames
from micgraph.graph.files import Encoding, blank_lines, found_files, is_path
from micgraph.graph.memory import DATABASE, memory
from micgraph.graph.nans import FLOATS, SEE_NAN, SEE_NAN_NO_MORE
from micgraph.graph.scratch import Scratch
from micgraph.schema import InputError

SourceKind = Literal["pandas", "polars", "arrow", "path"]
Source = Any
"""A path, a glob or a list of paths to Parquet or CSV files, or a pandas, polars or Arrow table."""

_names = itertools.count()


def connect(memory_limit: str | None = None) -> duckdb.DuckDBPyConnection:
    """A private database; times without a zone are UTC, UUIDs come back as UUIDs.

    Args:
        memory_limit: how much memory a build may take. The database then takes its share of it, and lies in a
            temporary folder that is gone when the connection is; else it lies in memory.

    Raises:
        ConfigError: ``memory_limit`` is no size, or too small.
    """
    config: dict[str, Any] = {"preserve_insertion_order": False, "autoinstall_known_extensions": False}
    if memory_limit is None:
        con = duckdb.connect(config=config)
    else:
        share = round(memory(memory_limit) * DATABASE)
        scratch = Scratch(Path(tempfile.gettempdir()), "micgraph-log")
        limits = {"memory_limit": f"{share}B", "temp_directory": str(scratch.path / "spill")}
        try:
            con = duckdb.connect(scratch.path / "log.duckdb", config=config | limits)
        except BaseException:
            scratch.remove()
            raise
        weakref.finalize(con, scratch.remove)
    con.execute("SET TimeZone = 'UTC'; SET arrow_lossless_conversion = true")
    with suppress(duckdb.InvalidInputException):  # in Jupyter without ipywidgets: bars then show the time alone
        con.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    return con


def fresh(prefix: str) -> str:
    """A table name that nothing else on any connection uses."""
    return f"{prefix}_{next(_names)}"


def quoted(name: str) -> str:
    """A column name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def file_sql(path: str | Path) -> str:
    """The path of one file as SQL: DuckDB takes ``[1]`` for a pattern, and ``~`` for the home folder."""
    return literal(glob.escape(str(Path(path).absolute())))


def parquet_file(file: Path) -> str:
    """A Parquet file of ours as a table of DuckDB's SQL; folders called ``user_id=7`` are no columns of it."""
    return f"read_parquet({file_sql(file)}, hive_partitioning = false)"


def parquet(folder: Path) -> str:
    """The Parquet files of a folder of ours as one table."""
    pattern = literal(str(Path(glob.escape(str(folder.absolute()))) / "*.parquet"))
    return f"read_parquet({pattern}, hive_partitioning = false)"


def types(con: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Column name -> DuckDB type (without parameters: ENUM, DECIMAL) of a relation."""
    rows = con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return {str(row[0]): str(row[1]) if str(row[1]).endswith("]") else str(row[1]).split("(")[0] for row in rows}


@contextmanager
def readable(argument: str) -> Iterator[None]:
    """Turn what DuckDB and Arrow say about a source that cannot be read into an InputError."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException) as error:
        if is_full(error):
            raise no_room(error) from error
        got = str(error).strip().split("\n")[0]
        raise InputError(argument, "a readable table", got, "check the file or the table, and its format") from error


@dataclass(frozen=True)
class Opened:
    """A source with our column names (``view``), what it was read from, and its columns under their own names."""

    view: str
    kind: SourceKind
    found: tuple[str, ...]


@contextmanager
def opened(
    con: duckdb.DuckDBPyConnection,
    argument: str,
    source: Source,
    columns: Mapping[str, str],
    text: Sequence[str],
    strict: bool = False,
    encoding: Encoding | None = None,
) -> Iterator[Opened]:
    """A relation of the source's rows with our column names, there as long as the context is.

    Args:
        argument: how errors name the source.
        columns: our name -> the source's name.
        text: our names of columns that a CSV file must not guess the type of ("007" is no number, "04/03/2024" may
            be two days); they become integers only where every value is written like one.
        strict: a column that ``columns`` looks for under another name is not taken under its own.
        encoding: of CSV files, UTF-8 by default.

    Raises:
        InputError: no such file, an unknown format, or it cannot be read.
    """
    name, view = fresh("source"), fresh("renamed")
    try:
        with readable(argument):
            kind = _load(con, argument, source, name, [columns.get(column, column) for column in text], encoding)
            found = types(con, name)
            if FLOATS & set(found.values()):
                con.execute(SEE_NAN)
            renames = {theirs: ours for ours, theirs in columns.items() if theirs in found}
            hidden = set(columns) if strict else set(renames.values())
            kept = [column for column in found if column in renames or column not in hidden]
            select = ", ".join(f"{quoted(column)} AS {quoted(renames.get(column, column))}" for column in kept)
            con.execute(f"CREATE VIEW {view} AS SELECT {select} FROM {name}")
        yield Opened(view, kind, tuple(found))
    finally:
        con.execute(f"DROP VIEW IF EXISTS {view}")
        con.unregister(name)
        con.execute(SEE_NAN_NO_MORE)
        con.execute(f"DROP VIEW IF EXISTS {name}; DROP TABLE IF EXISTS {name}_rows")


def _load(
    con: duckdb.DuckDBPyConnection,
    argument: str,
    source: Source,
    name: str,
    text: Sequence[str],
    encoding: Encoding | None,
) -> SourceKind:
    if is_path(source):
        _load_files(con, argument, source, name, text, encoding)
        return "path"
    library = type(source).__module__.split(".")[0]
    if library == "pandas" and hasattr(source, "columns"):
        con.register(name, frames.from_pandas(argument, source))
        return "pandas"
    if library == "polars" and hasattr(source, "to_arrow") and hasattr(source, "columns"):
        con.register(name, frames.from_polars(argument, source))
        return "polars"
    if isinstance(source, (pa.Table, pa.RecordBatch)):
        con.register(name, source)
        return "arrow"
    remedy = "pass one of these"
    raise InputError(argument, "a path, or a pandas, polars or Arrow table", type(source).__name__, remedy)


def _load_files(
    con: duckdb.DuckDBPyConnection,
    argument: str,
    source: Any,
    name: str,
    text: Sequence[str],
    encoding: Encoding | None,
) -> None:
    files, kind = found_files(argument, source)
    if kind == "parquet":
        listed = "[" + ", ".join(map(file_sql, files)) + "]"
        reader = _own_columns(con, f"read_parquet({listed}, union_by_name = true", files)
        con.execute(f"CREATE VIEW {name} AS SELECT * FROM {reader})")
        return
    try:
        found = _load_csv(con, argument, files, name, text, encoding)
    except duckdb.Error as error:
        if not is_full(error) and (fault := csv_faults.first_fault(argument, files, encoding)):
            raise fault from error
        raise
    for column in (c for c in text if c in found):
        _restore_integers(con, f"{name}_rows", quoted(column))
    con.execute(f"CREATE VIEW {name} AS FROM {name}_rows")


def _load_csv(
    con: duckdb.DuckDBPyConnection,
    argument: str,
    files: Sequence[str],
    name: str,
    text: Sequence[str],
    encoding: Encoding | None,
) -> set[str]:
    """Make the table ``{name}_rows`` of CSV files, whose columns it returns."""
    groups: dict[int, list[str]] = {}
    for file in files:  # DuckDB skips as many lines of each file of a reader
        groups.setdefault(blank_lines(Path(file), encoding), []).append(file)
    columns: set[str] = set()
    readers = []
    for skip, group in groups.items():
        # without comment and skip DuckDB leaves out lines that begin with #, and those above the longest table
        reader = f"read_csv([{', '.join(map(file_sql, group))}], union_by_name = true, sample_size = -1, comment = ''"
        reader += f", skip = {skip}" + (f", encoding = {literal(encoding)}" if encoding is not None else "")
        reader = _own_columns(con, reader, group)
        found = types(con, f"{reader})")
        if len(found) == 1 and (fault := csv_faults.first_fault(argument, group, encoding)):
            raise fault
        forced = ", ".join(f"{literal(c)}: 'VARCHAR'" for c in text if c in found)
        readers.append(f"FROM {reader}{', types = {' + forced + '}' if forced else ''})")
        columns |= found.keys()
    con.execute(f"CREATE TABLE {name}_rows AS {' UNION ALL BY NAME '.join(readers)}")
    return columns


def _own_columns(con: duckdb.DuckDBPyConnection, reader: str, files: Sequence[str]) -> str:
    """The reader (without its last bracket) such that a folder ``event=view`` is no column where the files have it."""
    folders = {part.split("=")[0].lower() for file in files for part in Path(file).absolute().parts if "=" in part}
    alone = f"{reader}, hive_partitioning = false"
    return alone if folders and folders & {column.lower() for column in types(con, f"{alone})")} else reader


def _restore_integers(con: duckdb.DuckDBPyConnection, table: str, column: str) -> None:
    digits = f"regexp_replace({column}, '\\.0$', '')"  # pandas writes integers with gaps as 12.0
    written = f"CAST(TRY_CAST({digits} AS BIGINT) AS VARCHAR) IS NOT DISTINCT FROM {digits}"
    if con.execute(f"SELECT bool_and({written}) FROM {table}").fetchall()[0][0]:
        con.execute(f"ALTER TABLE {table} ALTER {column} TYPE BIGINT USING CAST({digits} AS BIGINT)")
