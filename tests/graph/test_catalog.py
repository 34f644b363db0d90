"""Feature tables as fields, and newcomers encoded the same way."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from micgraph.graph.catalog import Encoded, encode_fields, encode_rows
from micgraph.graph.fields import Field
from micgraph.ids import IdMap
from micgraph.schema import SchemaError

IDS = IdMap(pa.array(["a", "b", "c"]))


def encode(ids: tuple[str, ...] = ("c", "a", "zz"), **columns: Any) -> Encoded:
    return encode_fields(pa.table({"item_id": ids, **columns}), IDS, "item_id")


def lists(field: Field) -> list[list[int]]:
    assert field.offsets is not None
    return [field.values[a:b].tolist() for a, b in zip(field.offsets[:-1], field.offsets[1:], strict=True)]


def test_rows_are_put_in_the_order_of_the_ids() -> None:
    found = encode(category=["x", "w", "never"], title=["C", "A", "Z"])
    assert list(found.fields) == ["item_id", "category"]
    assert found.fields["item_id"].values.tolist() == [1, 2, 3] and found.fields["item_id"].size == 4
    assert found.vocab["category"].to_pylist() == ["w", "x"]  # of rows in the graph only
    assert found.fields["category"].values.tolist() == [1, 0, 2] and found.fields["category"].size == 3
    assert (found.unknown, found.duplicate, found.missing) == (1, 0, 1)
    assert found.table is not None and found.table.to_pydict() == {
        "item_id": ["a", "b", "c"],
        "category": ["w", None, "x"],
        "title": ["A", None, "C"],
    }


def test_the_first_row_of_an_id_counts() -> None:
    found = encode(("a", "a", "b"), colour=["red", "blue", "green"])
    assert found.duplicate == 1 and found.vocab["colour"].to_pylist() == ["green", "red"]
    assert found.fields["colour"].values.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (["x", None, "y"], "categorical"),
        (pa.array(["x", None, "y"]).dictionary_encode(), "categorical"),
        ([True, False, None], "categorical"),
        ([1, 2, None], "dense"),
        ([1.5, 2.5, None], "dense"),
        ([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1), None], "dense"),
        ([datetime.datetime(2020, 1, 1), datetime.datetime(2021, 1, 1), None], "dense"),
        ([["x"], ["y", "z"], None], "multi"),
        ([[1], [2, 3], None], "multi"),
        ([[1.0, 2.0], [2.0, 3.0], None], "embedding"),
        (pa.array([[1.0, 2.0], [2.0, 3.0], None], pa.list_(pa.float32(), 2)), "embedding"),
    ],
)
def test_kinds_by_type(column: Any, kind: str) -> None:
    found = encode(("a", "b", "c"), column=column).fields["column"]
    assert found.kind == kind and len(found) == 3
    assert found.values.dtype == (torch.int32 if kind in ("categorical", "multi") else torch.float32)


@pytest.mark.parametrize(("name", "kind"), [("category", "categorical"), ("provider", "categorical"), ("n", "dense")])
def test_numbers_that_name_something_are_categories(name: str, kind: str) -> None:
    assert encode(**{name: [3, 4, 5]}).fields[name].kind == kind


def test_dense_columns_are_standardised_over_what_is_known() -> None:
    found = encode(("a", "b", "c"), price=[1.0, 3.0, None], weird=[float("inf"), float("nan"), 2.0], flat=[4, 4, 4])
    assert found.fields["price"].values.tolist() == [[-1.0], [1.0], [0.0]]
    assert found.vocab["price"].to_pylist() == [2.0, 1.0]
    assert found.fields["weird"].values.tolist() == [[0.0]] * 3 == found.fields["flat"].values.tolist()


def test_tags_keep_their_order() -> None:
    found = encode(("a", "b", "c"), tags=[["y", "x"], [], None])
    assert lists(found.fields["tags"]) == [[2, 1], [], []] and found.fields["tags"].size == 3


def test_embeddings() -> None:
    for gap in (None, float("nan"), float("inf"), float("-inf")):
        found = encode(("c", "a", "zz"), embedding=[[1.0, 2.0], [3.0, gap], [5.0, 6.0]])
        assert found.fields["embedding"].values.tolist() == [[0.0, 0.0], [0.0, 0.0], [1.0, 2.0]]
        assert found.fields["embedding"].size == 2
    with pytest.raises(SchemaError, match="embedding: expected vectors of one length"):
        encode(embedding=[[1.0, 2.0], [3.0], None])


def test_columns_without_a_value_are_no_fields() -> None:
    found = encode(nothing=[None, None, None], text=pa.array([None, None, "only of an unknown id"]))
    assert list(found.fields) == ["item_id"] and not found.vocab


def test_a_type_that_means_nothing_is_refused() -> None:
    with pytest.raises(SchemaError, match="shape: expected text.*struct.*drop or cast"):
        encode(shape=[{"w": 1}] * 3)
    with pytest.raises(SchemaError, match="item_id: expected a column 'item_id'"):
        encode_fields(pa.table({"id": ["a"]}), IDS, "item_id")


def test_without_a_table_the_id_is_the_only_field() -> None:
    found = encode_fields(None, IDS, "item_id")
    assert found.fields["item_id"].values.tolist() == [1, 2, 3]
    assert found.table is None and found.missing == 3


def test_newcomers_are_encoded_as_the_graph_is() -> None:
    columns: dict[str, Any] = {
        "category": ["x", "w", "x"],
        "tags": [["t", "s"], ["s"], None],
        "price": [1.0, 3.0, 2.0],
        "embedding": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
        "ok": [True, False, True],
    }
    found = encode(("a", "b", "c"), **columns)
    rows = {name: [values[i] for i in (1, 0)] for name, values in columns.items()}
    again = encode_rows(pa.table({"item_id": ["b", "a"], **rows}), found.fields, found.vocab, IDS, "item_id")
    for name, field in found.fields.items():
        expected = field.take(torch.tensor([1, 0]))
        assert again[name].values.tolist() == expected.values.tolist() and again[name].size == field.size
        assert (again[name].offsets is None) == (expected.offsets is None)
    stranger = pa.table({"tags": [["t", "new"]], "category": ["new"], "other": [1]})
    cold = encode_rows(stranger, found.fields, found.vocab, IDS, "item_id")
    assert list(cold) == list(found.fields)
    assert cold["item_id"].values.tolist() == cold["category"].values.tolist() == cold["ok"].values.tolist() == [0]
    assert lists(cold["tags"]) == [[2, 0]]
    assert cold["price"].values.tolist() == [[0.0]] and cold["embedding"].values.tolist() == [[0.0, 0.0]]
    with pytest.raises(SchemaError, match="vectors of length 2"):
        encode_rows(pa.table({"embedding": [[1.0]]}), found.fields, found.vocab, IDS, "item_id")


def test_large_vocabularies_keep_code_and_value_together() -> None:
    values = np.random.default_rng(1).permutation(5000).astype(str)
    ids = IdMap(pa.array(range(5000)))
    found = encode_fields(pa.table({"item_id": range(5000), "brand": values}), ids, "item_id")
    decoded = found.vocab["brand"].take(pa.array(found.fields["brand"].values.numpy() - 1)).to_pylist()
    assert decoded == values.tolist()
