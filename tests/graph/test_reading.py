"""Tables read at many places, by either program, against plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph import reading
from micgraph.graph.reading import search, stretch
from tests.edge_lists import tensor


@given(st.lists(st.integers(0, 9), max_size=20).map(sorted), st.data())
def test_search_is_bisection_in_slices(values: list[int], data: st.DataObject) -> None:
    bounds = data.draw(st.lists(st.tuples(*[st.integers(0, len(values))] * 2).map(sorted), max_size=4))
    target = [data.draw(st.integers(-1, 10)) for _ in bounds]
    start, end = tensor([b[0] for b in bounds]), tensor([b[1] for b in bounds])
    for right in (False, True):
        expected = [
            low + sum((v <= t) if right else (v < t) for v in values[low:high])
            for (low, high), t in zip(bounds, target, strict=True)
        ]
        for way in (search, reading._search_by_tensors):
            assert way(tensor(values), start, end, tensor(target), right).tolist() == expected
            assert way(tensor(values), start, end, tensor(target), right, len(values)).tolist() == expected


@given(st.lists(st.integers(0, 99), min_size=1, max_size=9), st.data())
@pytest.mark.parametrize("kind", [torch.int32, torch.int64])
def test_stretches_stand_side_by_side(kind: torch.dtype, table: list[int], data: st.DataObject) -> None:
    ends = st.tuples(*[st.integers(0, len(table))] * 2)  # some end before they begin: they are empty
    asked = data.draw(st.lists(ends, max_size=5))
    size = max([stop - first for first, stop in asked], default=0) + data.draw(st.integers(0, 2))
    size = max(size, 0)
    lines = [table[first:stop] for first, stop in asked]
    for way in (stretch, reading._stretch_by_tensors):
        first, stop = (tensor([one[end] for one in asked]) for end in (0, 1))
        found, mask = way(tensor(table).to(kind), first, stop, size)
        assert found.dtype == torch.int64 and mask.dtype == torch.bool
        assert found.tolist() == [line + [-1] * (size - len(line)) for line in lines]
        assert mask.tolist() == [[True] * len(line) + [False] * (size - len(line)) for line in lines]
