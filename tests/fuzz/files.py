"""How tables become files or frames."""

from __future__ import annotations

import csv
import gzip
import io
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.inputs import Input, Table


def write(made: Input, folder: Path) -> dict[str, Any]:
    """Write the tables; what ``read_log`` is given for each: a path, or a table."""
    given: dict[str, Any] = {}
    for name, table in made.tables.items():
        kind = made.format[name]
        if kind in ("pandas", "polars", "arrow"):
            given[name] = _frame(table, kind, made, name)
            continue
        suffix = made.suffix if made.suffix is not None and name == "log" else f".{kind}"
        path = folder / f"{name}{suffix}"
        content = _csv(table, made.dialect if name == "log" else {}) if kind == "csv" else _parquet(made, name)
        for change in made.files.get(name, []):
            content = change(content)
        path.write_bytes(content)
        given[name] = made.replaced[name](path) if name in made.replaced else path
    return given


def _csv(table: Table, dialect: dict[str, Any]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        delimiter=dialect.get("delimiter", ","),
        lineterminator=dialect.get("newline", "\n"),
        quoting=dialect.get("quoting", csv.QUOTE_MINIMAL),
        escapechar="\\",
    )
    for _ in range(dialect.get("headers", 1)):
        writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([_text(value) for value in row])
    encoding = dialect.get("encoding", "utf-8")
    content = text.getvalue().encode(encoding, errors="replace")
    return gzip.compress(content) if dialect.get("gzip") else content


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return "" if value is None else str(value)


def arrow(table: Table, types: dict[str, pa.DataType]) -> pa.Table:
    """An Arrow table; a column of several types is text."""
    columns = {name: _column(values, types.get(name)) for name, values in table.items()}
    return pa.table(list(columns.values()), names=list(columns))


def _column(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    if kind is not None:
        return typed(values, kind)
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return _texts(values)


def _texts(values: list[Any]) -> pa.Array:
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    """The values as this type where they can be, else any values of this type."""
    for attempt in (lambda: pa.array(values, kind), lambda: _column(values, None).cast(kind)):
        try:
            return attempt()
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            continue
    rows = [row % 5 for row in range(len(values))]
    for example in (lambda n: n, float, str, bool, lambda n: str(n).encode() * 4, lambda n: [n] * 3, lambda n: [str(n)],
                    lambda n: [[n]], lambda n: {"a": n}, lambda n: {"a": str(n)}, lambda n: [("k", n)],
                        lambda n: [bool(n)],
                    lambda n: [{"a": str(n)}], lambda n: bytes([n]) * 16, lambda n: pa.MonthDayNano([n, n,
                        n])):  # fmt: skip
        try:
            return pa.array([example(n) for n in rows], kind)
        except (pa.ArrowException, OverflowError, ValueError, TypeError):
            continue
    return pa.nulls(len(values), kind)


def _types(made: Input, name: str) -> dict[str, pa.DataType]:
    return {column: kind for (table, column), kind in made.types.items() if table == name}


def _parquet(made: Input, name: str) -> bytes:
    sink, how = io.BytesIO(), made.dialect.get("parquet", {})
    table = arrow(made.tables[name], _types(made, name))
    try:
        pq.write_table(table, sink, **how)
    except (pa.ArrowException, ValueError):  # a type that Parquet has not
        sink = io.BytesIO()
        columns = [column if column.type in _WRITABLE else _texts(column.to_pylist()) for column in table.columns]
        pq.write_table(pa.table(columns, names=table.column_names), sink)
    return sink.getvalue()


_WRITABLE = {pa.int64(), pa.float64(), pa.string(), pa.bool_()}


def _frame(table: Table, kind: str, made: Input, name: str) -> Any:
    if kind == "pandas":
        import pandas as pd

        return pd.DataFrame({column: pd.Series(values, dtype=_dtype(values)) for column, values in table.items()})
    arrived = arrow(table, _types(made, name))
    if kind == "polars":
        import polars as pl

        try:
            return pl.from_arrow(arrived)
        except BaseException:  # polars panics over types that it does not know
            return arrived
    return arrived


def _dtype(values: list[Any]) -> Any:
    kinds = {
        type(value) for value in values if value is not None and not (isinstance(value, float) and math.isnan(value))
    }
    return None if len(kinds) == 1 and not kinds & {int} else object
