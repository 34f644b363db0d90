"""Reviews: Amazon's books (2014) and Steam's games."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from micgraph.datasets.files import file_of, literals, malformed
from micgraph.graph.events import Log, read_log
from micgraph.graph.ingest import file_sql

REVIEWS = ("reviews_Books_5.json", "reviews_Books_5.json.gz", "ratings_Books.csv", "reviews_Books.json.gz")
METADATA = ("meta_Books.json", "meta_Books.json.gz")
GAMES = ("steam_games.json", "steam_games.json.gz")


def amazon_book(path: str | Path) -> Log:
    """Reviews of books from the release of 2014: every review is an event, ``ordinal`` is its place in the file.

    ComiRec, whose protocol MIC follows, reads the 5-core ``reviews_Books_5.json``. Items have a ``category``, the last
    of the first path of categories, as there, and ``tags``, all of the paths' names, ``title`` and ``provider`` (the
    brand), where ``meta_Books.json`` lies in the folder.

    Args:
        path: a file of reviews (JSON lines, ``.gz`` or not) or of ratings (CSV: user, item, rating, time), or the
            folder that has one.

    Raises:
        InputError: the file is missing or not in that format.
    """
    file = file_of(path, *REVIEWS)
    con = duckdb.connect()
    if file.suffix == ".csv":
        kinds = {"user_id": "VARCHAR", "item_id": "VARCHAR", "rating": "DOUBLE", "timestamp": "BIGINT"}
        rows = f"read_csv({file_sql(file)}, header = false, delim = ',', columns = {kinds})"
        names = "user_id, item_id, timestamp"
    else:
        kinds = {"reviewerID": "VARCHAR", "asin": "VARCHAR", "unixReviewTime": "BIGINT"}
        rows = f"read_json({file_sql(file)}, format = 'newline_delimited', columns = {kinds})"
        names = "reviewerID AS user_id, asin AS item_id, unixReviewTime AS timestamp"
    try:
        events = con.sql(f"SELECT {names}, row_number() OVER () AS ordinal FROM {rows}").to_arrow_table()
    except duckdb.Error as error:
        raise malformed(file, error) from error
    beside = [file.parent / name for name in METADATA if (file.parent / name).is_file()]
    items = _books(literals(beside[0]), set(events["item_id"].unique().to_pylist())) if beside else None
    return read_log(events, items=items, time_unit="s")


def steam(path: str | Path) -> Log:
    """Reviews of games: every review is an event of its day, ``ordinal`` is its place in the file.

    Items have ``title``, ``category`` (the first genre), ``tags`` and ``provider`` (the developer), where
    ``steam_games.json`` lies in the folder.

    Args:
        path: ``steam_reviews.json`` (Python's literals, ``.gz`` or not), or the folder that has it.

    Raises:
        InputError: the file is missing or not in that format.
    """
    file = file_of(path, "steam_reviews.json.gz", "steam_reviews.json")
    names = {"user_id": "username", "item_id": "product_id", "timestamp": "date"}
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for review in literals(file):
        for name, theirs in names.items():
            if theirs not in review:
                raise malformed(file, ValueError(f"a review without {theirs!r}"))
            columns[name].append(review[theirs])
    events = pa.table(columns).append_column("ordinal", pa.array(range(len(columns["user_id"])), pa.int64()))
    beside = [file.parent / name for name in GAMES if (file.parent / name).is_file()]
    items = _games(literals(beside[0]), set(columns["item_id"])) if beside else None
    return read_log(events, items=items, time_format="%Y-%m-%d")


def _books(lines: Iterable[dict[str, Any]], known: set[str]) -> pa.Table:
    rows = []
    for book in lines:
        if book.get("asin") in known:
            paths = book.get("categories") or [[]]
            tags = list(dict.fromkeys(name for path in paths for name in path))
            category = paths[0][-1] if paths[0] else None
            rows.append((book["asin"], book.get("title"), category, tags, book.get("brand") or None))
    return _features(rows)


def _games(lines: Iterable[dict[str, Any]], known: set[str]) -> pa.Table:
    rows = []
    for game in lines:
        if game.get("id") in known:
            genres, tags = game.get("genres") or [], game.get("tags") or []
            title = game.get("app_name") or game.get("title")
            rows.append((game["id"], title, genres[0] if genres else None, tags, game.get("developer") or None))
    return _features(rows)


def _features(rows: list[tuple[Any, ...]]) -> pa.Table:
    text = pa.string()
    kinds = {"item_id": text, "title": text, "category": text, "tags": pa.list_(text), "provider": text}
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in kinds]
    return pa.table({name: pa.array(column, kind) for column, (name, kind) in zip(columns, kinds.items(), strict=True)})
