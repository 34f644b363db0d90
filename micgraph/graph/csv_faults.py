"""Why a CSV file cannot be read as a table: the place in it, found by going through its lines once more.

DuckDB guesses delimiter and quotes from the file, and one line with a field too few makes it guess that there is one
column. What it says then is about its search; what helps is the number of that line.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from micgraph.graph.files import CODECS, Encoding, content, decoded, first_line
from micgraph.schema import InputError

_DELIMITERS = ",;\t|"
_SHOWN = 60
_CHUNK = 1 << 16
_BIG_ENDIAN = "UTF-16 with the high byte first"
_BOMS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": _BIG_ENDIAN,
}
_NOT_LATIN_1 = re.compile(rb"[\x80-\x9f]")
"""Controls, which DuckDB does not take for Latin-1; in Windows-1252 the euro sign, curly quotes and others."""
_ENDS = {"\r\n": "\\r\\n", "\n": "\\n", "\r": "\\r"}
_NAME = 'save it as UTF-8, or name how it is written: read_log takes encoding="latin-1" or "utf-16"'
_CONVERT = "save it as UTF-8"
_ICONV = f"{_CONVERT}: if it is Windows-1252, as of old Excel, by iconv -f WINDOWS-1252 -t UTF-8"


class Fault(NamedTuple):
    """What a file should be, what it is and what helps."""

    expected: str
    got: str
    remedy: str


def first_fault(argument: str, files: Sequence[str], encoding: Encoding | None = None) -> InputError | None:
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


def find(path: Path, encoding: Encoding = "utf-8") -> Fault | None:
    """The first fault of a file; None where it has none of those looked for, or cannot be opened.

    It is read in pieces: memory holds a row of it at a time.
    """
    try:
        with content(path) as file:
            if fault := _other_encoding(file, encoding):
                return fault
            file.seek(0)
            with decoded(file, encoding) as text:
                return _uneven(text)
    except (OSError, EOFError, zlib.error):
        return None


def _other_encoding(file: IO[bytes], encoding: Encoding) -> Fault | None:
    expected = f"{encoding.upper()} text"
    start = file.read(4)
    found = next((name for mark, name in _BOMS.items() if start.startswith(mark)), None)
    if encoding == "utf-16" and start[::2] == b"\0\0" and 0 not in start[1::2]:
        found = found or _BIG_ENDIAN
    if found and found != encoding.upper():
        return Fault(expected, found, _NAME if found == "UTF-16" else _CONVERT)
    file.seek(0)
    line = _undecodable(file, encoding)
    if line is None:
        return None
    file.seek(0)
    latin_1 = not any(_NOT_LATIN_1.search(chunk) for chunk in _chunks(file))
    return Fault(expected, f"other bytes in line {line}", _NAME if latin_1 else _ICONV)


def _undecodable(file: IO[bytes], encoding: Encoding) -> int | None:
    """The first line that DuckDB does not take for the encoding."""
    decoder, before = codecs.getincrementaldecoder(CODECS[encoding])(), 0
    for chunk in itertools.chain(_chunks(file), [b""]):
        wrong = _NOT_LATIN_1.search(chunk) if encoding == "latin-1" else None
        if wrong:
            return 1 + before + chunk.count(b"\n", 0, wrong.start())
        try:
            before += decoder.decode(chunk, final=not chunk).count("\n")
        except UnicodeDecodeError as error:
            return 1 + before + error.object.count(b"\n", 0, error.start)
    return None


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    return iter(lambda: file.read(_CHUNK), b"")


def _uneven(text: io.TextIOWrapper) -> Fault | None:
    """The first line with another number of fields than the header has, or else lines that end in several ways."""
    blank, named = first_line(text)
    delimiter = max(_DELIMITERS, key=named.count)
    last, ends = deque([""], maxlen=1), Counter[str]()
    header, rows = 0, csv.reader(_noted(itertools.chain(blank, [named], text), last), delimiter=delimiter)
    try:
        for row in rows:  # its end is that of its last line: others are within quotes
            ends[last[0][len(last[0].rstrip("\r\n")) :]] += 1
            header = header or (len(row) if rows.line_num > len(blank) else 0)
            if row and header and len(row) != header:
                shown = delimiter.join(row)
                shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
                got = f"{len(row)} in line {rows.line_num} ({shown!r})"
                return Fault(f"{header} fields in every line, as in the first", got, "repair or remove the line")
    except csv.Error as error:
        return Fault("a table", f"{error} in line {rows.line_num}", "repair or remove the line")
    found = [f"{ends[end]} with {shown}" for end, shown in _ENDS.items() if ends[end]]
    return Fault("lines that end alike", ", ".join(found), "convert them to one kind") if len(found) > 1 else None


def _noted(lines: Iterable[str], last: deque[str]) -> Iterator[str]:
    for line in lines:
        last.append(line)
        yield line
