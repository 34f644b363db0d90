"""Files of data sets: found, or missed by name; and what is said of one in another format."""

from __future__ import annotations

import ast
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from micgraph.schema import InputError


def existing(folder: str | Path, name: str) -> Path:
    """The file of a data set's folder.

    Raises:
        InputError: it is not there.
    """
    file = Path(folder) / name
    if not file.is_file():
        raise InputError("path", f"a folder with {name}", str(folder), "unpack the data set there, or correct the path")
    return file


def file_of(path: str | Path, *names: str) -> Path:
    """The file that a path names, or the first of ``names`` that its folder has.

    Raises:
        InputError: there is none.
    """
    place = Path(path)
    if not place.is_dir():
        return existing(place.parent, place.name)
    return existing(place, next((name for name in names if (place / name).is_file()), names[0]))


def literals(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file, gzipped or not, that are Python's literals of dictionaries.

    Raises:
        InputError: a line is none.
    """
    opener: Any = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = ast.literal_eval(line.strip())
                if not isinstance(value, dict):
                    raise ValueError(f"a {type(value).__name__}")
            except (ValueError, SyntaxError) as error:
                raise malformed(file, ValueError(f"line {number}: {error}")) from error
            yield value


def malformed(file: Path, error: Exception) -> InputError:
    """The error for a file that is not in the official format."""
    got = str(error).split("\n")[0]
    return InputError(str(file), "the data set's official format", got, "unpack the data set again")
