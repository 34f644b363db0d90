"""How tables become files or frames, and mutations of the formats and of their bytes."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.inputs import Input, Table, mutator, one_of

ARROW_TYPES: list[pa.DataType] = [
    pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string(),
    pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(4), pa.decimal128(20, 3), pa.decimal256(60, 3), pa.date32(),
    pa.date64(), pa.time32("s"), pa.time64("ns"), pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.timestamp("us", "Asia/Tokyo"),
    pa.timestamp("ns", "Europe/Paris"), pa.timestamp("ns"), pa.duration("s"), pa.null(), pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.int32(), pa.int64()), pa.list_(pa.string()), pa.list_(pa.int64()), pa.list_(pa.float32()),
    pa.list_(pa.float64(), 3), pa.large_list(pa.string()), pa.list_(pa.list_(pa.int32())), pa.struct([("a", pa.int32())]),
    pa.map_(pa.string(), pa.int32()), pa.string_view(), pa.list_(pa.bool_()), pa.list_(pa.struct([("a", pa.string())])),
    pa.dictionary(pa.int8(), pa.list_(pa.string())), pa.uuid(), pa.month_day_nano_interval(), pa.list_(pa.date32()),
]  # fmt: skip


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
                    lambda n: [[n]], lambda n: {"a": n}, lambda n: {"a": str(n)}, lambda n: [("k", n)], lambda n: [bool(n)],
                    lambda n: [{"a": str(n)}], lambda n: bytes([n]) * 16, lambda n: pa.MonthDayNano([n, n, n])):  # fmt: skip
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
        fields = [f if f.type in _WRITABLE else f.with_type(pa.string()) for f in table.schema]
        columns = [_column([None if v is None else str(v) for v in table[i].to_pylist()], pa.string())
                   if fields[i].type != table.schema.field(i).type else table[i] for i in range(len(fields))]  # fmt: skip
        sink = io.BytesIO()
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
    kinds = {type(value) for value in values if value is not None and not (isinstance(value, float) and math.isnan(value))}
    return None if len(kinds) == 1 and not kinds & {int} else object


@mutator("format")
def csv_delimiter(made: Input, rng: np.random.Generator) -> None:
    made.dialect["delimiter"] = one_of(rng, [";", "\t", "|", ":", " ", "~", "\x01"])


@mutator("format")
def csv_newlines(made: Input, rng: np.random.Generator) -> None:
    made.dialect["newline"] = one_of(rng, ["\r\n", "\r", "\n\n", "\n\r", "\r\r\n", " \n", ",\n"])


@mutator("format")
def csv_quotes(made: Input, rng: np.random.Generator) -> None:
    made.dialect["quoting"] = one_of(rng, [csv.QUOTE_ALL, csv.QUOTE_NONE, csv.QUOTE_NONNUMERIC])


@mutator("format")
def csv_encoding(made: Input, rng: np.random.Generator) -> None:
    made.dialect["encoding"] = one_of(rng, ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "shift_jis"])


@mutator("format")
def csv_gzip(made: Input, rng: np.random.Generator) -> None:
    made.dialect["gzip"] = True
    made.suffix = one_of(rng, [".csv.gz", ".csv.gz", ".csv", ".gz", ".parquet.gz"])


@mutator("format")
def csv_header(made: Input, rng: np.random.Generator) -> None:
    made.dialect["headers"] = one_of(rng, [0, 2, 3])


@mutator("format")
def file_name(made: Input, rng: np.random.Generator) -> None:
    made.suffix = one_of(rng, [".csv", ".parquet", ".pq", ".tsv", ".txt", ".CSV", ".json", "", ".csv.gz", " with 'quotes'.csv",
                               "[1].csv", "*.csv", "?.parquet", "é 日.csv", ".xlsx", ".csv.zst"])  # fmt: skip


@mutator("format")
def file_kind(made: Input, rng: np.random.Generator) -> None:
    made.replaced[one_of(rng, made.tables)] = one_of(rng, list(REPLACEMENTS.values()))


def _folder(path: Path) -> Path:
    path.unlink()
    path.mkdir()
    return path


def _gone(path: Path) -> Path:
    path.unlink()
    return path


def _empty_list(path: Path) -> list[Path]:
    return []


REPLACEMENTS: dict[str, Callable[[Path], Any]] = {
    "folder": _folder,
    "gone": _gone,
    "list": lambda path: [path],
    "twice": lambda path: [path, str(path)],
    "glob": lambda path: str(path.parent / f"{path.stem[:2]}*{path.suffix}"),
    "no list": _empty_list,
    "number": lambda path: 5,
    "none in a list": lambda path: [None],
    "numbers": lambda path: [1, 2],
    "bytes": lambda path: bytes(path),
    "blank": lambda path: "",
    "star": lambda path: "*",
    "nul": lambda path: "a\x00b.csv",
    "long": lambda path: "x" * 5_000 + ".csv",
    "mapping": lambda path: {"log": str(path)},
    "set": lambda path: {str(path)},
    "open": lambda path: io.BytesIO(path.read_bytes()),
}


@mutator("format")
def parquet_layout(made: Input, rng: np.random.Generator) -> None:
    made.dialect["parquet"] = one_of(rng, [{"row_group_size": 1}, {"compression": "gzip"}, {"compression": "none"},
                                           {"version": "1.0"}, {"use_dictionary": False}, {"data_page_version": "2.0"},
                                           {"compression": "zstd"}, {"row_group_size": 7}, {"compression": "lz4"}])  # fmt: skip


def _types_changed(made: Input, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 3))):
        name = one_of(rng, made.tables)
        made.types[name, one_of(rng, made.tables[name])] = one_of(rng, ARROW_TYPES)


@mutator("format")
def parquet_types(made: Input, rng: np.random.Generator) -> None:
    _types_changed(made, rng)


@mutator("values")
def parquet_column_types(made: Input, rng: np.random.Generator) -> None:
    _types_changed(made, rng)


@mutator("format")
def frame_types(made: Input, rng: np.random.Generator) -> None:
    _types_changed(made, rng)


def change(made: Input, rng: np.random.Generator, function: Callable[[bytes], bytes]) -> None:
    """Change the bytes of the log's file, or now and then of another one's."""
    name = "log" if rng.random() < 0.7 else one_of(rng, made.tables)
    made.files.setdefault(name, []).append(function)


@mutator("bytes")
def bytes_flipped(made: Input, rng: np.random.Generator) -> None:
    at, with_ = rng.random(int(rng.integers(1, 9))), rng.integers(1, 256, 8)

    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        for place, mask in zip(at, with_, strict=False):
            if changed:
                changed[int(place * len(changed))] ^= int(mask)
        return bytes(changed)

    change(made, rng, flip)


@mutator("bytes")
def bytes_cut(made: Input, rng: np.random.Generator) -> None:
    share = rng.random()
    change(made, rng, lambda content: content[: int(share * len(content))])


@mutator("bytes")
def bytes_inserted(made: Input, rng: np.random.Generator) -> None:
    what = one_of(rng, [b"\x00", b"\x00" * 100, b"\xff", b"\xc3\x28", b'"', b"'", b"\\", b",", b",,,", b"\n", b"\r", b"\n\n\n", b"\x1a",
                        b"\xef\xbb\xbf", b"\xed\xa0\x80", b"#", b"a" * 200_000, b'"' + b"a\n" * 2_000, b"\x80" * 50, b"\t"])  # fmt: skip
    places = rng.random(int(rng.integers(1, 4)))

    def insert(content: bytes) -> bytes:
        for place in places:
            at = int(place * (len(content) + 1))
            content = content[:at] + what + content[at:]
        return content

    change(made, rng, insert)


@mutator("bytes")
def bytes_at_an_end(made: Input, rng: np.random.Generator) -> None:
    what = one_of(rng, [b"\xef\xbb\xbf", b"\n\n", b"# a comment\n", b"sep=;\n", b"PAR1", b"\x1f\x8b", b'"', b"\x00", b"a title\n\n"])
    front = rng.random() < 0.6
    change(made, rng, lambda content: what + content if front else content + what)


@mutator("bytes")
def bytes_replaced(made: Input, rng: np.random.Generator) -> None:
    what = one_of(rng, [b"", b"\n", b"\x00" * 64, b"PAR1", b"PAR1PAR1", b"user_id,item_id,timestamp", b"user_id,item_id,timestamp\n",
                        bytes(range(256)), b"\x1f\x8b\x08", b"a\n" * 50, b",,\n" * 9, b"PK\x03\x04", b"{}", b"<html></html>"])  # fmt: skip
    change(made, rng, lambda content: what)


@mutator("bytes")
def csv_lines(made: Input, rng: np.random.Generator) -> None:
    how, at = one_of(rng, ["drop", "twice", "shorter", "longer", "merge", "comment"]), rng.random()

    def lines(content: bytes) -> bytes:
        rows = content.split(b"\n")
        row = int(at * len(rows))
        chosen = rows[row]
        rows[row : row + 1] = {
            "drop": [], "twice": [chosen, chosen], "shorter": [chosen.rsplit(b",", 1)[0]], "longer": [chosen + b",x,y"],
            "merge": [chosen + (rows[row + 1] if row + 1 < len(rows) else b"")], "comment": [b"# note", chosen],
        }[how]  # fmt: skip
        return b"\n".join(rows)

    change(made, rng, lines)
