"""Tags that come as text, from the column alone and from a CSV file to the graph's edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import micgraph as mg
from micgraph.graph.tags import with_tag_lists
from micgraph.schema import SIMILAR, SchemaError

LOG = pa.table({"user_id": ["u", "u", "v", "v"], "item_id": ["a", "b", "c", "d"], "timestamp": [10**9, 2, 3, 4]})


def read(values: Any) -> list[list[str] | None]:
    return with_tag_lists(pa.table({"tags": values}))["tags"].to_pylist()


def test_texts_become_the_lists_that_they_mean() -> None:
    texts = ['["x, y", "z"]', "x | y||", "z", "", None, " [1, 2]", "[]", "a, b"]
    lists = [["x, y", "z"], ["x", "y"], ["z"], [], None, ["1", "2"], [], ["a, b"]]
    assert read(texts) == lists
    assert read(pa.array(texts).dictionary_encode()) == lists
    assert read(pa.array(texts, pa.large_string())) == lists


def test_lists_and_columns_without_a_value_stay_and_so_does_the_rest_of_the_table() -> None:
    assert read([["x"], None]) == [["x"], None]
    assert read([[1, 2]]) == [[1, 2]] and read([None]) == [None]
    table = with_tag_lists(pa.table({"item_id": [1], "tags": ["x|y"], "title": ["x|y"]}))
    assert table.to_pydict() == {"item_id": [1], "tags": [["x", "y"]], "title": ["x|y"]}
    assert with_tag_lists(table.drop_columns(["tags"])).column_names == ["item_id", "title"]


@pytest.mark.parametrize(
    ("values", "got", "remedy"),
    [
        ([1, 2], "int64", "rewrite"),
        ([[0.5], [1.5]], "list<item: double>", "rewrite"),
        (["['x', 'y']"], "['x', 'y']", "as JSON"),
        (['[["x"]]'], '[["x"]]', "as JSON"),
        (["[" * 3_000], "[[[", "as JSON"),
        (['["\\ud800"]'], "ud800", "as JSON"),
        (["x;y", "z"], "'x;y'", "separate the tags by |"),
        (["z", "x,y"], "'x,y'", "separate the tags by |"),
    ],
)
def test_what_is_no_list_of_tags_is_named(values: Any, got: str, remedy: str) -> None:
    with pytest.raises(SchemaError) as caught:
        read(values)
    assert caught.value.argument == "items.tags" and caught.value.expected.startswith("lists of tags")
    assert got in str(caught.value.got) and remedy in caught.value.remedy


@pytest.mark.parametrize("rows", ["a,x|y\nb,y\nc,z\nd,", 'a,"[""x"",""y""]"\nb,"[""y""]"\nc,"[""z""]"\nd,[]'])
def test_a_csv_file_with_tags_gives_the_edges_of_lists(tmp_path: Path, rows: str) -> None:
    file = tmp_path / "items.csv"
    file.write_text(f"item_id,tags\n{rows}\n")
    listed = pa.table({"item_id": ["a", "b", "c", "d"], "tags": [["x", "y"], ["y"], ["z"], []]})
    found, expected = (mg.build(mg.read_log(LOG, items=items)) for items in (file, listed))
    edges = [
        (graph.relation(SIMILAR).row_index().tolist(), graph.relation(SIMILAR).col.tolist())
        for graph in (found, expected)
    ]
    assert edges[0] == edges[1] == ([0, 1], [1, 0])
    found.save(tmp_path / "graph")
    assert mg.RecGraph.load(tmp_path / "graph").item_fields["tags"].kind == "multi"


def test_a_csv_file_whose_tags_are_numbers_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text("item_id,tags\na,1\nb,2\n")
    with pytest.raises(SchemaError, match="^items.tags: expected lists"):
        mg.build(mg.read_log(LOG, items=file))
