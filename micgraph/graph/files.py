"""Files of logs and tables: which there are, in which format, and in which encoding CSV files are written."""

from __future__ import annotations

import glob
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal, cast, get_args

from micgraph.schema import InputError

Encoding = Literal["utf-8", "latin-1", "utf-16"]
CODECS: dict[Encoding, str] = {"utf-8": "utf-8-sig", "latin-1": "latin-1", "utf-16": "utf-16-le"}
"""What DuckDB means by an encoding, as Python calls it."""
_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv"}


def is_path(source: Any) -> bool:
    """Whether a source is a path, a glob or a list of these, and no table."""
    listed = isinstance(source, Sequence) and not isinstance(source, bytes) and not hasattr(source, "columns")
    return listed or isinstance(source, (str, Path))


def found_files(argument: str, source: Any) -> tuple[list[str], str]:
    """The files of a path, a glob or a list of these, and their format: ``parquet`` or ``csv``.

    Raises:
        InputError: there is none, or they are of several formats or of another one.
    """
    patterns = [source] if isinstance(source, (str, Path)) else list(source)
    files = sorted({file for pattern in patterns for file in _expand(argument, pattern)})
    formats = {_FORMATS.get(Path(file.removesuffix(".gz")).suffix.lower(), "") for file in files}
    if len(formats) != 1 or "" in formats:
        suffixes = sorted({"".join(Path(file).suffixes[-2:]) or "no suffix" for file in files})
        got = ", ".join(suffixes) or "an empty list"
        raise InputError(argument, "files of one kind, .parquet or .csv", got, "convert or rename the files")
    return files, formats.pop()


def _expand(argument: str, pattern: Any) -> list[str]:
    if not isinstance(pattern, (str, Path)):
        raise InputError(argument, "a path, or a list of paths", repr(pattern), "write paths as texts")
    try:
        files = [str(pattern)] if Path(pattern).is_file() else glob.glob(str(pattern), recursive=True)
    except OSError as error:  # a name that no file can have, or a folder that may not be read
        raise InputError(argument, "an existing file", f"{pattern}: {error.strerror}", "check the path") from error
    if not files:
        raise InputError(argument, "an existing file", str(pattern), "check the path")
    return files


def check_encoding(encoding: Any) -> None:
    """Refuse what is no encoding of a CSV file that can be read.

    Raises:
        InputError: it is none.
    """
    if encoding is not None and encoding not in get_args(Encoding):
        remedy = "choose one of these, or convert the file to UTF-8"
        raise InputError("encoding", f"one of {', '.join(get_args(Encoding))}", repr(encoding), remedy)


def content(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where its name ends in .gz."""
    return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def decoded(file: IO[bytes], encoding: Encoding) -> io.TextIOWrapper:
    """The text of a CSV file as DuckDB reads it, with its line ends as they are."""
    return io.TextIOWrapper(file, CODECS[encoding], "replace", "")


def first_line(text: io.TextIOWrapper) -> tuple[list[str], str]:
    """The lines of white space that a text begins with, and the first other one, "" where there is none."""
    blank: list[str] = []
    for line in text:
        if line.lstrip("\ufeff").strip():
            return blank, line
        blank.append(line)
    return blank, ""


def blank_lines(path: Path, encoding: Encoding | None) -> int:
    """How many lines of nothing but white space a CSV file has above its header; 0 where it cannot be read."""
    try:
        with decoded(content(path), encoding or "utf-8") as text:
            blank, line = first_line(text)
            return len(blank) if line else 0
    except (OSError, EOFError, zlib.error):
        return 0
