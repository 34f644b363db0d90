"""Entries of ``columns=`` that would be ignored, and columns that are not there: the error shows the way."""

from __future__ import annotations

import pyarrow as pa
import pytest

from micgraph.graph.events import read_log
from micgraph.schema import SchemaError

SHOP = {"Customer ID": [1, 1], "StockCode": ["a", "b"], "When": [1_577_836_800, 1_577_836_900], "Invoice": [7, 7]}
GOOD = {"user_id": "Customer ID", "item_id": "StockCode", "timestamp": "When"}
ITEMS = pa.table({"StockCode": ["a", "b"], "Description": ["A", "B"], "Size": ["S", "L"]})


def refusal(columns: dict[str, str], source: dict = SHOP) -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        read_log(pa.table(source), items=ITEMS, columns=columns)
    return caught.value


def test_entries_that_say_what_is_there_are_taken() -> None:
    more = {"session_id": "Invoice", "title": "Description", "shirt_size": "Size", "subtitle": "Description"}
    log = read_log(pa.table(SHOP), items=ITEMS, columns=GOOD | more)
    assert log.columns[-1] == "session_id"
    assert "shirt_size" in log.sql("SELECT * FROM {items}").column_names


@pytest.mark.parametrize(
    ("entry", "remedy"),
    [
        ({"sesion_id": "Invoice"}, "did you mean 'session_id'?"),
        ({"titel": "Description"}, "did you mean 'title'?"),
        ({"title": "Descripton"}, "did you mean 'Description'?"),
        ({"shirt_size": "Sizes"}, "did you mean 'Size'?"),
        ({"title": "zzz"}, "name a column of the log, items= or users="),
    ],
)
def test_a_misspelt_entry_is_refused(entry: dict[str, str], remedy: str) -> None:
    error = refusal(GOOD | entry)
    assert error.argument == "columns" and error.remedy.startswith(remedy)


def test_a_reversed_mapping_is_told_apart() -> None:
    error = refusal({theirs: ours for ours, theirs in GOOD.items()})
    assert error.remedy == 'the mapping is our name -> yours: write columns={"user_id": "Customer ID"}'


@pytest.mark.parametrize(
    ("columns", "write"),
    [
        ({"StockCode": "item_id"}, '{"item_id": "StockCode"}'),  # the items have an item_id: both are columns
        ({"user_id": "Invoice", "session_id": "provider"}, '{"provider": "session_id"}'),
        ({"article": "timestamp"}, '{"timestamp": ...}, or leave the entry out'),
    ],
)
def test_a_reversed_mapping_is_told_apart_where_both_names_are_ours_or_there(
    columns: dict[str, str], write: str
) -> None:
    source = SHOP | {"user_id": [1, 1], "timestamp": SHOP["When"], "session_id": [1, 2]}
    items = pa.table({"item_id": ["a", "b"], "Size": ["S", "L"]})
    with pytest.raises(SchemaError) as caught:
        read_log(pa.table(source), items=items, columns=columns)
    assert caught.value.argument == "columns"
    assert caught.value.remedy == f"the mapping is our name -> yours: write columns={write}"


def test_columns_may_change_places() -> None:
    items = pa.table({"StockCode": ["a", "b"], "genre": ["x", "y"], "category": ["p", "q"]})
    log = read_log(pa.table(SHOP), items=items, columns=GOOD | {"genre": "category", "category": "genre"})
    assert log.sql("SELECT category FROM {items} ORDER BY item_id")["category"].to_pylist() == ["x", "y"]


def test_a_missing_column_names_the_columns_as_the_source_does() -> None:
    error = refusal(GOOD | {"timestamp": "Wen"})
    assert error.got == "the columns Customer ID, StockCode, When, Invoice"
    assert error.remedy == 'did you mean columns={"timestamp": "When"}?'
    error = refusal({name: GOOD[name] for name in ("user_id", "item_id")})
    assert error.expected == "a column 'timestamp'" and error.remedy == 'name it with columns={"timestamp": ...}'
