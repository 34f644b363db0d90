"""Items and users described by the log's own columns: the most frequent value, and nothing that is of the click."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import micgraph as mg
from micgraph.graph.events import read_log
from micgraph.schema import InputError, SchemaError

COLUMNS = {"user_id": "who", "item_id": "what", "timestamp": "when", "title": "label"}
ROWS = st.tuples(
    st.sampled_from(["u", "v", None]), st.sampled_from(["a", "b", "c", None]), st.sampled_from(["x", "y", "z", None])
)


def log_of(rows: list[tuple[Any, Any, Any]]) -> pa.Table:
    who, what, label = zip(*rows, strict=True)
    text = pa.string()
    columns = {"who": pa.array(who, text), "what": pa.array(what, text), "label": pa.array(label, text)}
    return pa.table({**columns, "when": pa.array(range(1, len(rows) + 1), pa.int64())})


@given(st.lists(ROWS, max_size=25))
def test_an_item_has_the_value_that_most_of_its_rows_have(rows: list[tuple[Any, Any, Any]]) -> None:
    rows = [("u", "a", "y"), *rows]
    votes: dict[str, Counter[str]] = {what: Counter() for _, what, _ in rows if what is not None}
    for _, what, label in rows:
        if what is not None and label is not None:
            votes[what][label] += 1
    expected = {what: min(found, key=lambda v: (-found[v], v)) if found else None for what, found in votes.items()}
    log = read_log(log_of(rows), columns=COLUMNS, item_columns=["title"])
    items = log.sql("SELECT * FROM {items}").to_pydict()
    assert dict(zip(items["item_id"], items["title"], strict=True)) == expected
    assert log.refused.keys() <= {"null user_id", "null item_id", "duplicate (same user, item and second)"}


def test_an_item_id_that_is_not_a_number_is_no_item() -> None:
    """NaN in a column of floats, as Arrow has it where pandas would say null."""
    columns = {"user_id": pa.array([1, 1, 2]), "item_id": pa.array([1.0, float("nan"), 2.0]), "title": ["a", "b", "c"]}
    log = read_log(pa.table({**columns, "timestamp": pa.array([1, 2, 3])}), item_columns=["title"])
    assert log.refused == {"null item_id": 1}
    assert log.sql("SELECT item_id, title FROM {items} ORDER BY 1").to_pydict() == {
        "item_id": [1, 2],
        "title": ["a", "c"],
    }


def test_both_tables_from_one_csv_reach_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text(
        "invoice;code;label;quantity;day;customer;country\n"
        '1;007;"MUG; red";2;01/12/2010 08:26;17850;France\n'
        "2;85A;BAG;1;02/12/2010 08:26;17850;France\n"
        "3;007;MUG;1;02/12/2010 09:00;;Germany\n"
        '4;007;"MUG; red";1;13/12/2010 09:00;12;Spain\n'
        "C5;85A;BAG;-1;14/12/2010 09:00;12;Spain\n",
        encoding="utf-8-sig",
    )
    names = {"user_id": "customer", "item_id": "code", "timestamp": "day", "weight": "quantity", "title": "label"}
    log = read_log(path, columns=names, time_format="%d/%m/%Y %H:%M", item_columns=["title"], user_columns=["country"])
    assert log.refused == {"null user_id": 1, "weight <= 0": 1}
    graph = mg.build(log)
    assert graph.items is not None and graph.items.values.to_pylist() == ["007", "85A"]
    assert graph.titles([0, 1]) == ["MUG; red", "BAG"]
    assert set(graph.user_fields) == {"user_id", "country"} and set(graph.item_fields) == {"item_id"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_files_that_are_not_utf_8(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,timestamp,title\n1,a,1600000000,CAFÉ £5\n", encoding=encoding)
    with pytest.raises(InputError, match="UTF-8") as error:
        read_log(path, item_columns=["title"])
    assert 'encoding="latin-1"' in error.value.remedy
    log = read_log(path, item_columns=["title"], encoding=encoding)  # type: ignore[arg-type]
    assert log.scalar("SELECT title FROM {items}") == "CAFÉ £5"


def test_an_encoding_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InputError, match="encoding"):
        read_log(log_of([("u", "a", "x")]), columns=COLUMNS, encoding="cp1252")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "error", "says"),
    [
        ("title", InputError, r"write it as \['title'\]"),
        (["titel"], SchemaError, "did you mean 'title'"),
        (["label"], SchemaError, "write 'title', as columns= calls it"),
        (["timestamp"], SchemaError, "belongs to the click"),
    ],
)
def test_columns_that_cannot_describe_an_item(wanted: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        read_log(log_of([("u", "a", "x")]), columns=COLUMNS, item_columns=wanted)


def test_the_log_is_no_table_of_items() -> None:
    frame = pd.DataFrame({"user_id": [1, 1], "item_id": ["a", "b"], "timestamp": [1, 2], "title": ["x", "y"]})
    with pytest.raises(SchemaError, match=r"item_columns=\[\"title\"\]"):
        read_log(frame, items=frame)
    with pytest.raises(InputError, match="item_columns"):
        read_log(frame, items=frame[["item_id", "title"]], item_columns=["title"])
    assert read_log(frame, items=frame[["item_id", "title"]]).items is not None


def test_amounts_with_separators_are_refused_with_the_remedy() -> None:
    frame = pd.DataFrame({"user_id": [1], "item_id": ["a"], "timestamp": [1], "weight": ["1,000"]})
    with pytest.raises(SchemaError, match="'1,000' to 1000"):
        read_log(frame)
