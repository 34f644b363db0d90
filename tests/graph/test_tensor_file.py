"""Tensors that grow, the file they are written to, and that it is mapped when it is read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

import micgraph as mg
from micgraph.graph.buffers import Buffers
from micgraph.graph.tensor_file import write_tensors

kinds = st.sampled_from([torch.int64, torch.int32, torch.float32, torch.float16])
shapes = st.lists(st.integers(0, 4), min_size=1, max_size=2)


@given(st.dictionaries(st.text(max_size=5), st.tuples(kinds, shapes), max_size=6))
def test_safetensors_reads_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, tuple[torch.dtype, list[int]]]
) -> None:
    path = tmp_path_factory.mktemp("file") / "x.safetensors"
    tensors = {name: (torch.rand(shape) * 100).to(kind) for name, (kind, shape) in wanted.items()}
    write_tensors(tensors, path)
    found = load_file(path)
    assert found.keys() == tensors.keys()
    for name, values in tensors.items():
        assert found[name].dtype == values.dtype and torch.equal(found[name], values)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    offsets = {name: about["data_offsets"][0] for name, about in json.loads(content[8 : 8 + length]).items()}
    assert length % 8 == 0 and all(offset % tensors[name].element_size() == 0 for name, offset in offsets.items())


def test_what_is_not_contiguous_is_written_in_its_order(tmp_path: Path) -> None:
    turned = torch.arange(12).reshape(3, 4).T
    write_tensors({"turned": turned}, tmp_path / "x.safetensors")
    assert torch.equal(load_file(tmp_path / "x.safetensors")["turned"], turned)


@given(st.lists(st.lists(st.integers(-5, 5), max_size=4), min_size=1, max_size=5), st.sampled_from(["<i4", "<f2"]))
def test_appended_values_come_back(tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], kind: str) -> None:
    folder = tmp_path_factory.mktemp("buffers")
    for buffers in (Buffers(), Buffers(folder)):
        for part in parts:
            buffers.append("a", np.array(part, kind))
            buffers.append("b", np.array(part + part, np.int64)[::2])
        found = buffers.finish("a")
        assert found.tolist() == sum(parts, []) and found.numpy().dtype == np.dtype(kind)
        assert buffers.finish("b").numel() == sum(len(part) for part in parts)
    assert not list(folder.iterdir())


def _mapped(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_relations_are_mapped(tiny_log: Any, tmp_path: Path) -> None:
    graphs = [mg.build(tiny_log.clicks, {"memory_limit": "1GB"}, tmp_path / "bounded")]
    mg.build(tiny_log.clicks, out=tmp_path / "plain")
    graphs.append(mg.RecGraph.load(tmp_path / "plain"))
    for graph, name in zip(graphs, ("bounded", "plain"), strict=True):
        (file,) = (tmp_path / name).glob("*/relations.safetensors")
        assert graph.n_users == 60 and _mapped(file)
