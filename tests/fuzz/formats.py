"""Mutations of the formats of files and frames, and of their bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.fuzz.inputs import Input, mutator, one_of

ARROW_TYPES: list[pa.DataType] = [
    pa.int8(), pa.int32(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string(),
    pa.large_string(), pa.binary(), pa.large_binary(), pa.binary(4), pa.decimal128(20, 3), pa.decimal256(60, 3),
        pa.date32(),
    pa.date64(), pa.time32("s"), pa.time64("ns"), pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.timestamp("us",
        "Asia/Tokyo"),
    pa.timestamp("ns", "Europe/Paris"), pa.timestamp("ns"), pa.duration("s"), pa.null(), pa.dictionary(pa.int8(),
        pa.string()),
    pa.dictionary(pa.int32(), pa.int64()), pa.list_(pa.string()), pa.list_(pa.int64()), pa.list_(pa.float32()),
    pa.list_(pa.float64(), 3), pa.large_list(pa.string()), pa.list_(pa.list_(pa.int32())), pa.struct([("a",
        pa.int32())]),
    pa.map_(pa.string(), pa.int32()), pa.string_view(), pa.list_(pa.bool_()), pa.list_(pa.struct([("a", pa.string())])),
    pa.dictionary(pa.int8(), pa.list_(pa.string())), pa.uuid(), pa.month_day_nano_interval(), pa.list_(pa.date32()),
]  # fmt: skip


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
    made.dialect["encoding"] = one_of(
        rng, ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "shift_jis"]
    )


@mutator("format")
def csv_gzip(made: Input, rng: np.random.Generator) -> None:
    made.dialect["gzip"] = True
    made.suffix = one_of(rng, [".csv.gz", ".csv.gz", ".csv", ".gz", ".parquet.gz"])


@mutator("format")
def csv_header(made: Input, rng: np.random.Generator) -> None:
    made.dialect["headers"] = one_of(rng, [0, 2, 3])


@mutator("format")
def file_name(made: Input, rng: np.random.Generator) -> None:
    made.suffix = one_of(rng, [".csv", ".parquet", ".pq", ".tsv", ".txt", ".CSV", ".json", "", ".csv.gz",
    " with 'quotes'.csv",
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
                                           {"compression": "zstd"}, {"row_group_size": 7},
                                           {"compression": "lz4"}])  # fmt: skip


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
    what = one_of(rng, [b"\x00", b"\x00" * 100, b"\xff", b"\xc3\x28", b'"', b"'", b"\\", b",", b",,,", b"\n", b"\r",
        b"\n\n\n", b"\x1a",
                        b"\xef\xbb\xbf", b"\xed\xa0\x80", b"#", b"a" * 200_000, b'"' + b"a\n" * 2_000, b"\x80" * 50,
                        b"\t"])  # fmt: skip
    places = rng.random(int(rng.integers(1, 4)))

    def insert(content: bytes) -> bytes:
        for place in places:
            at = int(place * (len(content) + 1))
            content = content[:at] + what + content[at:]
        return content

    change(made, rng, insert)


@mutator("bytes")
def bytes_at_an_end(made: Input, rng: np.random.Generator) -> None:
    what = one_of(
        rng,
        [b"\xef\xbb\xbf", b"\n\n", b"# a comment\n", b"sep=;\n", b"PAR1", b"\x1f\x8b", b'"', b"\x00", b"a title\n\n"],
    )
    front = rng.random() < 0.6
    change(made, rng, lambda content: what + content if front else content + what)


@mutator("bytes")
def bytes_replaced(made: Input, rng: np.random.Generator) -> None:
    what = one_of(rng, [b"", b"\n", b"\x00" * 64, b"PAR1", b"PAR1PAR1", b"user_id,item_id,timestamp",
        b"user_id,item_id,timestamp\n",
                        bytes(range(256)), b"\x1f\x8b\x08", b"a\n" * 50, b",,\n" * 9, b"PK\x03\x04", b"{}",
                        b"<html></html>"])  # fmt: skip
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
