"""RecGraph: access, summary, damage on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import micgraph as mg
from micgraph import artifact
from micgraph.graph.fields import Field
from micgraph.schema import ArtifactError, ConfigError, InputError

T0 = 1_700_000_000


@pytest.fixture
def graph() -> mg.RecGraph:
    clicks = pa.table(
        {
            "user_id": ["u1", "u1", "u2", "u2", "u2", None],
            "item_id": [10, 20, 20, 30, 20, 10],
            "timestamp": [T0, T0 + 60, T0 + 30, T0 + 9000, T0 + 9060, T0],
        }
    )
    items = pa.table({"item_id": [10, 20, 30], "title": ["ten", "", "thirty"], "category": ["x", "x", "y"]})
    return mg.build(mg.read_log(clicks, items=items))


def test_counts_and_times(graph: mg.RecGraph) -> None:
    assert graph.n_nodes == {"user": 2, "item": 3, "session": 3}
    assert (graph.n_users, graph.n_items, graph.n_sessions) == (2, 3, 3)
    assert graph.epoch == T0 and graph.last_time == 9060
    assert graph.popularity().tolist() == [1, 3, 1]
    assert graph.popularity(since=60).tolist() == [0, 2, 1]
    assert graph.popularity(since=9061).tolist() == [0, 0, 0]


def test_names_of_items(graph: mg.RecGraph) -> None:
    assert graph.titles([2, 1, -1, 0]) == ["thirty", "20", "", "ten"]
    assert graph.titles(torch.tensor([], dtype=torch.int64)) == []


def test_numbers_in_a_column_of_titles_are_names_too(graph: mg.RecGraph) -> None:
    assert graph.items is not None
    titles = [0.5, None, 0.0]
    graph = replace(graph, items_table=pa.table({"item_id": graph.items.values[:3], "title": titles}))
    assert graph.titles([0, 1, 2, -1]) == ["0.5", str(graph.items.values[1].as_py()), "0.0", ""]


def test_category_is_the_first_of_several(graph: mg.RecGraph) -> None:
    assert graph.category.tolist() == [1, 1, 2]
    several = Field("category", "multi", 4, torch.tensor([3, 1, 2], dtype=torch.int32), torch.tensor([0, 2, 2, 3]))
    assert replace(graph, item_fields={"category": several}).category.tolist() == [3, 0, 2]
    assert replace(graph, item_fields={}).category.tolist() == [0, 0, 0]


def test_relations_and_their_reverses(graph: mg.RecGraph) -> None:
    turned = graph.relation("clicks", reverse=True)
    assert turned is graph.relation("clicks", reverse=True)
    assert turned.indptr.tolist() == [0, 1, 4, 5]
    assert turned.col.tolist() == [0, 1, 0, 1, 1] and turned.time is not None
    assert turned.time.tolist() == [0, 30, 60, 9060, 9000]
    with pytest.raises(ConfigError, match=r"one of \['clicks', .*'similar'\], got 'likes'"):
        graph.relation("likes")


def test_summary_counts_and_says_what_was_refused(graph: mg.RecGraph) -> None:
    summary = graph.summary()
    assert summary.nodes == {"user": 2, "item": 3, "session": 3}
    assert summary.edges == {name: rel.n_edges for name, rel in graph.relations.items()}
    assert summary.degrees["user -> clicks"] == (2, 2, 2, 3, 3, 3, 3)
    assert summary.degrees["item <- clicks"] == (1, 1, 1, 3, 3, 3, 3)
    assert summary.refused == {"null user_id": 1, "item without a title: no similar items by it": 1}
    assert "refused rows" in str(summary) and all(reason in str(summary) for reason in summary.refused)
    assert all(len(line) <= 100 for line in str(summary).splitlines())
    html = replace(summary, refused={"<b>": 2})._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 4 and "&lt;b&gt;" in html


def test_repr_fits_a_screen(graph: mg.RecGraph) -> None:
    many = {f"f{i}": Field(f"f{i}", "dense", 1, torch.zeros(3, 1)) for i in range(50)}
    text = repr(replace(graph, item_fields=many))
    assert text.startswith("RecGraph: 2 users, 3 items, 3 sessions") and "and 42 more" in text
    assert len(text.splitlines()) <= 24


def test_another_device(graph: mg.RecGraph) -> None:
    moved = graph.to("meta")
    assert {rel.device.type for rel in moved.relations.values()} == {"meta"}
    assert {f.values.device.type for f in [*moved.item_fields.values(), *moved.user_fields.values()]} == {"meta"}
    assert graph.relation("clicks").device.type == "cpu" and moved.items is graph.items


@pytest.mark.parametrize("n", [1, 0])
def test_small_graphs_have_a_fingerprint_too(graph: mg.RecGraph, n: int) -> None:
    dense = Field("age", "dense", 1, torch.ones(1, 1).expand(n, 1))
    assert len({replace(graph, user_fields={"age": dense}).fingerprint(), graph.fingerprint()}) == 2


def test_equal_graphs_have_one_fingerprint_and_every_difference_another(graph: mg.RecGraph, tmp_path: Path) -> None:
    graph.save(tmp_path / "graph")
    assert mg.RecGraph.load(tmp_path / "graph").fingerprint() == graph.fingerprint()
    assert graph.to("cpu").fingerprint() == replace(graph).fingerprint() == graph.fingerprint()
    clicks, category = graph.relations["clicks"], graph.item_fields["category"]
    assert clicks.time is not None and graph.items is not None
    changed: list[dict[str, Any]] = [
        {"epoch": T0 + 1},
        {"items": type(graph.items)(pa.array([10, 20, 31]))},
        {"items": type(graph.items)(pa.array(["10", "20", "30"]))},
        {"relations": {**graph.relations, "clicks": replace(clicks, time=clicks.time + 1)}},
        {"relations": {"clicks": clicks}},
        {"item_fields": {**graph.item_fields, "category": replace(category, values=category.values.flip(0))}},
    ]
    prints = [replace(graph, **change).fingerprint() for change in changed]
    assert len({graph.fingerprint(), *prints}) == 1 + len(changed)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("clicks", {"col": torch.tensor([0, 1, 1, 2, 3], dtype=torch.int32)}),
        ("clicks", {"col": torch.tensor([0, 1, 1, 2, -1], dtype=torch.int32)}),
        ("clicks", {"time": torch.tensor([60, 0, 30, 9000, 9060], dtype=torch.int32)}),
        ("clicks", {"indptr": torch.tensor([0, 2, 4])}),
        ("clicks", {"indptr": torch.tensor([0, 6, 5])}),
        ("has", {"n_cols": 4}),
        ("co_occurs", {"cum": torch.zeros(4, dtype=torch.int32)}),
    ],
)
def test_validate_finds_what_does_not_fit(graph: mg.RecGraph, name: str, change: dict[str, Any]) -> None:
    assert graph.validate() is graph
    broken = replace(graph, relations={**graph.relations, name: replace(graph.relations[name], **change)})
    with pytest.raises(InputError):
        broken.validate()


def test_validate_looks_at_fields_and_ids(graph: mg.RecGraph) -> None:
    short = {"item_id": Field("item_id", "categorical", 4, torch.tensor([1, 2], dtype=torch.int32))}
    beyond = {"item_id": Field("item_id", "categorical", 3, torch.tensor([1, 2, 3], dtype=torch.int32))}
    for broken in (
        replace(graph, item_fields=short),
        replace(graph, item_fields=beyond),
        replace(graph, items=graph.users),
    ):
        with pytest.raises(InputError, match="^item fields"):
            broken.validate()


def test_a_flipped_byte_in_any_file(graph: mg.RecGraph, tmp_path: Path) -> None:
    graph.save(tmp_path / "g")
    files = [p for p in (tmp_path / "g").rglob("*") if p.is_file()]
    assert len(files) >= 9
    for path in files:
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[len(content) // 2] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(ArtifactError):
            mg.RecGraph.load(tmp_path / "g")
        path.write_bytes(content)
    mg.RecGraph.load(tmp_path / "g").validate()


def test_an_older_format_and_another_artifact(graph: mg.RecGraph, tmp_path: Path) -> None:
    artifact.publish(tmp_path / "old", "graph", 0, lambda folder: None)
    with pytest.raises(ArtifactError, match="expected graph format 1, got format 0; make the graph again"):
        mg.RecGraph.load(tmp_path / "old")
    artifact.publish(tmp_path / "run", "run", 1, lambda folder: None)
    with pytest.raises(ArtifactError, match="a saved graph"):
        mg.RecGraph.load(tmp_path / "run")
    with pytest.raises(ArtifactError, match="no such directory"):
        mg.RecGraph.load(tmp_path / "nowhere")


def test_saving_again_replaces_whole_graphs_only(graph: mg.RecGraph, tmp_path: Path) -> None:
    graph.save(tmp_path / "g")
    broken = replace(graph, manifest={"cannot": object()})
    with pytest.raises(TypeError):
        broken.save(tmp_path / "g")
    assert repr(mg.RecGraph.load(tmp_path / "g")) == repr(graph)
    replace(graph, epoch=5).save(tmp_path / "g")
    assert mg.RecGraph.load(tmp_path / "g").epoch == 5


def test_column_names_of_any_kind_survive(tmp_path: Path) -> None:
    clicks = pa.table({"user_id": [1], "item_id": [2], "timestamp": [T0]})
    items = pa.table({"item_id": [2], "a/b.c": ["x"], "d.values": [["y", "z"]]})
    mg.build(mg.read_log(clicks, items=items), out=tmp_path / "g")
    again = mg.RecGraph.load(tmp_path / "g")
    assert list(again.item_fields) == ["item_id", "a/b.c", "d.values"]
    assert again.item_vocab["d.values"].to_pylist() == ["y", "z"]


def test_a_machine_with_torch_only_reads_a_graph(graph: mg.RecGraph, tmp_path: Path) -> None:
    """Without duckdb, pyarrow and pydantic a graph loads, with no ids."""
    graph.save(tmp_path / "g")
    code = f"""
import sys, json
import importlib.util as util
missing = {{"duckdb", "pyarrow", "pydantic"}}
for name in missing:
    sys.modules[name] = None
find = util.find_spec
util.find_spec = lambda name, *a: None if name.split(".")[0] in missing else find(name, *a)
from micgraph.graph.recgraph import RecGraph
graph = RecGraph.load({str(tmp_path / "g")!r}).validate()
print(json.dumps([graph.n_nodes, graph.items is None, graph.titles([2]), graph.popularity().tolist()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(mg.__file__).parents[1]
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [graph.n_nodes, True, ["2"], [1, 3, 1]]


def test_popularity_is_a_loop(tiny_log: Any) -> None:
    built = mg.build(mg.read_log(tiny_log.clicks))
    clicks = built.relation("clicks")
    since = built.last_time - 3 * 86_400
    expected = np.zeros(built.n_items, dtype=int)
    assert clicks.time is not None
    for item, when in zip(clicks.col.tolist(), clicks.time.tolist(), strict=True):
        expected[item] += when >= since
    assert built.popularity(since).tolist() == expected.tolist()
