"""What an edge weighs, in memory, on disk and on its way to a device."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import micgraph as mg
from micgraph.schema import InputError

MIX = {"title": 3.0, "tags": 1.0, "category": 1.0}


@pytest.mark.parametrize("settings_", [{}, {"semantic": MIX}, {"semantic": MIX, "memory_limit": "500MB"}])
def test_int_ids_and_at_most_eight_bytes_an_edge(settings_: Any, tiny_log: Any, tmp_path: Path) -> None:
    """In memory, turned round, mapped from disk, and in the bytes of the file."""
    log = mg.read_log(tiny_log.clicks, items=tiny_log.items)
    built = mg.build(log, settings_, out=tmp_path / "graph").validate()
    loaded = mg.RecGraph.load(tmp_path / "graph").validate()
    assert set(built.relations) == {"clicks", "has", "contains", "co_occurs", "similar"} == set(loaded.relations)
    kinds = {"col": torch.int32, "time": torch.int32, "cum": torch.int32, "score": torch.float16}
    for graph in (built, loaded):
        for rel in (graph.relation(name, reverse) for name in graph.relations for reverse in (False, True)):
            edges = {name: t for name, t in rel.tensors().items() if name != "indptr"}
            assert {name: t.dtype for name, t in edges.items()}.items() <= kinds.items()
            taken = sum(t.element_size() * t.numel() for t in edges.values())
            assert 0 < taken == rel.edge_bytes * rel.n_edges <= 8 * rel.n_edges
    rows = sum(len(rel.indptr) for rel in built.relations.values())
    (file,) = (tmp_path / "graph").rglob("relations.safetensors")
    assert file.stat().st_size <= 8 * sum(rel.n_edges for rel in built.relations.values()) + 8 * rows + 2_000


def test_an_edge_that_takes_more_is_refused(tiny_log: Any) -> None:
    graph = mg.build(mg.read_log(tiny_log.clicks))
    pairs = graph.relation("co_occurs")
    graph.relations["co_occurs"] = replace(pairs, score=pairs.weight().half())
    with pytest.raises(InputError, match="co_occurs: expected 8 bytes an edge"):
        graph.validate()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads the memory map as Linux writes it")
def test_the_edges_of_a_loaded_graph_are_mapped(tiny_log: Any, tmp_path: Path) -> None:
    mg.build(mg.read_log(tiny_log.clicks), out=tmp_path / "graph")
    graph = mg.RecGraph.load(tmp_path / "graph")
    ranges = [
        [int(bound, 16) for bound in line.split()[0].split("-")]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith("relations.safetensors")
    ]
    for rel in graph.relations.values():
        for values in rel.tensors().values():
            assert any(begin <= values.data_ptr() < end for begin, end in ranges)


def test_a_graph_moves_to_a_device_once(tiny_log: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tensor of each relation once, and none of them again when relations are read or turned round."""
    graph = mg.build(mg.read_log(tiny_log.clicks, items=tiny_log.items))
    moves: Counter[int] = Counter()
    real = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", lambda t, *a, **k: moves.update([t.data_ptr()]) or real(t, *a, **k))
    moved = graph.to("cpu")
    expected = Counter(t.data_ptr() for rel in graph.relations.values() for t in rel.tensors().values())
    found = {place: count for place, count in moves.items() if place in expected}
    assert found == dict(expected)
    moves.clear()
    for name in moved.relations:
        assert moved.relation(name) is moved.relation(name)
        assert moved.relation(name, reverse=True) is moved.relation(name, reverse=True)
    assert not set(moves) & set(expected)
