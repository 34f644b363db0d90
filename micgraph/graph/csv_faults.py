"""Why a CSV file cannot be read as a table: the place in it, found by going through its lines once more.

DuckDB guesses delimiter and quotes from the file, and one line with a field too few makes it guess that there is one
column. What it says then is about its search; what helps is the number of that line.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from pathlib import Path
from typing import NamedTuple

from micgraph.schema import InputError

_DELIMITERS = ",;\t|"
_SHOWN = 60
_BOMS = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class Fault(NamedTuple):
    """What a file should be, what it is and what helps."""

    expected: str
    got: str
    remedy: str


def first_fault(argument: str, files: list[str], encoding: str | None = None) -> InputError | None:
    """The error for CSV files that cannot be read as tables; None where they have none of the faults known here.

    Args:
        argument: how the error names them.
        files: their paths.
        encoding: what they are said to be written in; None: UTF-8.
    """
    for file in files:
        if fault := find(Path(file), encoding or "utf-8"):
            return InputError(argument, fault.expected, f"{fault.got} in {file}", fault.remedy)
    return None


def find(path: Path, encoding: str = "utf-8") -> Fault | None:
    """The first fault of a file; None where it has none of those looked for, or cannot be opened."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error):
        return None
    if fault := _other_encoding(content, encoding):
        return fault
    text = content.decode(encoding)
    return _other_newlines(text) or _uneven(text)


def _other_encoding(content: bytes, encoding: str) -> Fault | None:
    expected = f"{encoding.upper()} text"
    remedy = 'save it as UTF-8, or name how it is written: read_log takes encoding="latin-1" or "utf-16"'
    bom = next((mark for mark in _BOMS if content.startswith(mark)), None)
    if bom and _BOMS[bom] != encoding.upper():
        return Fault(expected, _BOMS[bom], remedy)
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        return Fault(expected, f"other bytes in line {1 + content[: error.start].count(10)}", remedy)
    return None


def _other_newlines(text: str) -> Fault | None:
    pairs, feeds, returns = text.count("\r\n"), text.count("\n"), text.count("\r")
    kinds = {"\\r\\n": pairs, "\\n": feeds - pairs, "\\r": returns - pairs}
    found = [f"{count} with {kind}" for kind, count in kinds.items() if count]
    if len(found) < 2:
        return None
    return Fault("lines that end alike", ", ".join(found), "convert them to one kind")


def _uneven(text: str) -> Fault | None:
    """The first line with another number of fields than the header has."""
    lines = text.splitlines()
    if not (named := next((line for line in lines if line.strip()), "")):
        return None
    delimiter = max(_DELIMITERS, key=named.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header: list[str] = next(row for row in rows if row)
        for row in rows:
            if row and len(row) != len(header):
                shown = delimiter.join(row)
                shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
                got = f"{len(row)} in line {rows.line_num} ({shown!r})"
                return Fault(f"{len(header)} fields in every line, as in the first", got, "repair or remove the line")
    except csv.Error as error:
        return Fault("a table", f"{error} in line {rows.line_num}", "repair or remove the line")
    return None
