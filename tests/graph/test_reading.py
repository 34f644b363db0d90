"""Tables read at many places, by either program, against plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph import reading
from micgraph.graph.reading import look_up, mark, search
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
def test_look_up_reads_where_the_mask_says(kind: torch.dtype, table: list[int], data: st.DataObject) -> None:
    anywhere = st.integers(-5, len(table) + 5)
    asked = data.draw(st.lists(st.tuples(anywhere, st.booleans()), max_size=12).filter(lambda x: len(x) % 2 == 0))
    index, mask = tensor([i for i, _ in asked]), torch.tensor([m for _, m in asked], dtype=torch.bool)
    mask &= (index >= 0) & (index < len(table))
    expected = [table[i] if m else -1 for i, m in zip(index.tolist(), mask.tolist(), strict=True)]
    for way in (look_up, reading._look_up_by_tensors):
        found = way(tensor(table).to(kind), index.view(2, -1), mask.view(2, -1))
        assert found.dtype == torch.int64 and found.shape == (2, len(asked) // 2)
        assert found.flatten().tolist() == expected


@given(st.lists(st.integers(-3, 6), max_size=9))
def test_mark_sets_what_is_named(index: list[int]) -> None:
    for way in (mark, reading._mark_by_tensors):
        table = torch.zeros(8, dtype=torch.bool)
        way(table, tensor(index))
        assert table[:-1].nonzero()[:, 0].tolist() == sorted({i for i in index if i >= 0})
