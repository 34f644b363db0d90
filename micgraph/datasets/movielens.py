"""MovieLens-1M in GroupLens's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from micgraph.datasets.files import existing, malformed
from micgraph.graph.events import Log, read_log


def movielens_1m(path: str | Path) -> Log:
    """MovieLens-1M from GroupLens's folder: every rating is an event, ``ordinal`` is its place in the file.

    Items have ``title``, ``category`` (the first genre), ``tags`` (all genres) and ``year``; users have ``gender``,
    ``age`` and ``occupation`` as categories.

    Args:
        path: the folder with ``ratings.dat``, ``movies.dat`` and ``users.dat``.

    Raises:
        InputError: a file is missing or not in that format.
    """
    ratings = _double_colons(existing(path, "ratings.dat"), ["user_id", "item_id", "rating", "timestamp"], pa.int64())
    events = ratings.drop_columns("rating").append_column("ordinal", pa.array(np.arange(len(ratings))))
    names = ["user_id", "gender", "age", "occupation", "zip"]
    users = _double_colons(existing(path, "users.dat"), names, pa.string()).drop_columns("zip")
    users = users.set_column(0, "user_id", users["user_id"].cast(pa.int64()))
    return read_log(events, items=_movies(existing(path, "movies.dat")), users=users, time_unit="s")


def _double_colons(file: Path, names: list[str], kind: pa.DataType) -> pa.Table:
    """Fields between '::': read with ':' as the delimiter, every second column is empty."""
    columns = [name for pair in zip(names, [f"_{name}" for name in names], strict=True) for name in pair][:-1]
    read = pyarrow.csv.ReadOptions(column_names=columns, encoding="latin-1")
    convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, kind), include_columns=names)
    try:
        parse = pyarrow.csv.ParseOptions(delimiter=":", quote_char=False)
        return pyarrow.csv.read_csv(file, read_options=read, parse_options=parse, convert_options=convert)
    except pa.ArrowException as error:
        raise malformed(file, error) from error


def _movies(file: Path) -> pa.Table:
    """The films: few lines, whose titles contain single colons."""
    lines = [line.split("::") for line in file.read_text(encoding="latin-1").splitlines()]
    try:
        number, title, genres = (list(column) for column in zip(*lines, strict=True))
        ids, years = pa.array([int(n) for n in number]), [float(t[-5:-1]) for t in title]
    except ValueError as error:
        raise malformed(file, error) from error
    tags = [g.split("|") for g in genres]
    first = [tag[0] for tag in tags]
    return pa.table({"item_id": ids, "title": title, "category": first, "tags": tags, "year": pa.array(years)})
