"""Every primitive against plain loops over lists of edges."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph import relation as primitives
from micgraph.graph.relation import Relation, locate, packed, second_start, spans, window
from tests.edge_lists import N_COLS, Rows, relation, some, tensor, timed_rows, weighted_rows


@given(timed_rows, st.data())
def test_window_is_a_slice_before_the_stop(rows: Rows, data: st.DataObject) -> None:
    asked = some(data, rows)
    cut = [data.draw(st.integers(0, len(rows.edges[r]))) for r in asked]
    size = data.draw(st.integers(1, 4))
    stop = tensor([rows.start(r) + c for r, c in zip(asked, cut, strict=True)])
    eid, mask = window(rows.rel, tensor(asked), stop, size)
    first = torch.maximum(rows.rel.indptr[tensor(asked)], stop - size)
    for one, other in zip((eid, mask), primitives._between_by_tensors(first, stop, size), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert eid.shape == mask.shape == (len(asked), size)
    for line, (r, c) in enumerate(zip(asked, cut, strict=True)):
        expected = list(range(rows.start(r), rows.start(r) + c))[-size:]
        assert eid[line][mask[line]].tolist() == expected
        assert mask[line].tolist() == [True] * len(expected) + [False] * (size - len(expected))
        assert (eid[line][~mask[line]] == 0).all()


@given(timed_rows, st.data())
def test_locate_is_strict(rows: Rows, data: st.DataObject) -> None:
    asked = some(data, rows)
    when = [data.draw(st.integers(-1, 7)) for _ in asked]
    found = locate(rows.rel, tensor(asked), tensor(when)).tolist()
    for r, t, at in zip(asked, when, found, strict=True):
        assert at == rows.start(r) + sum(time < t for time, _ in rows.edges[r])


@given(timed_rows, st.data())
def test_second_start_is_the_first_edge_of_the_same_time(rows: Rows, data: st.DataObject) -> None:
    edges = [(r, at) for r, edges in enumerate(rows.edges) for at in range(len(edges))]
    asked = data.draw(st.lists(st.sampled_from(edges), max_size=8)) if edges else []
    row, eid = tensor([r for r, _ in asked]), tensor([rows.start(r) + at for r, at in asked])
    found = second_start(rows.rel, row, eid)
    torch.testing.assert_close(found, locate(rows.rel, row, rows.rel.time[eid]), rtol=0, atol=0)
    for (r, at), one in zip(asked, found.tolist(), strict=True):
        times = [time for time, _ in rows.edges[r]]
        assert one == rows.start(r) + times.index(times[at])


@given(timed_rows, st.data())
def test_packed_is_window_without_padding(rows: Rows, data: st.DataObject) -> None:
    asked = some(data, rows)
    size = data.draw(st.integers(1, 10))
    cut = [data.draw(st.integers(0, len(rows.edges[r]))) for r in asked]
    stop = tensor([rows.start(r) + c for r, c in zip(asked, cut, strict=True)])
    for chosen, ends in ((None, [len(rows.edges[r]) for r in asked]), (stop, cut)):
        eid, cu_seqlens = packed(rows.rel, tensor(asked), size, chosen)
        expected = [list(range(rows.start(r), rows.start(r) + e))[-size:] for r, e in zip(asked, ends, strict=True)]
        assert eid.tolist() == [e for part in expected for e in part]
        assert cu_seqlens.tolist() == np.cumsum([0] + [len(part) for part in expected]).tolist()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=6))
def test_spans_are_ranges(slices: list[tuple[int, int]]) -> None:
    owner, index = spans(tensor([s for s, _ in slices]), tensor([n for _, n in slices]))
    expected = [(i, s + j) for i, (s, n) in enumerate(slices) for j in range(n)]
    assert list(zip(owner.tolist(), index.tolist(), strict=True)) == expected


@given(weighted_rows)
def test_weights_come_back_from_their_prefix_sums(rows: Rows) -> None:
    assert rows.rel.weight().tolist() == [weight for edges in rows.edges for weight, _ in edges]
    assert rows.rel.degree().tolist() == [len(edges) for edges in rows.edges]
    assert rows.rel.row_index().tolist() == [r for r, edges in enumerate(rows.edges) for _ in edges]


@given(weighted_rows)
def test_reverse_of_rows_ordered_by_column(rows: Rows) -> None:
    turned = rows.rel.reverse()
    expected = [[(w, r) for r, e in enumerate(rows.edges) for w, c in e if c == col] for col in range(N_COLS)]
    assert edges_of(turned, turned.weight()) == expected
    back = turned.reverse()
    assert edges_of(back, back.weight()) == rows.edges


@given(timed_rows)
def test_reverse_of_timed_rows_is_ordered_by_time_then_source(rows: Rows) -> None:
    turned = rows.rel.reverse()
    expected = [
        sorted((t, r) for r, edges in enumerate(rows.edges) for t, c in edges if c == col) for col in range(N_COLS)
    ]
    assert turned.n_cols == len(rows.edges)
    assert edges_of(turned, turned.time) == expected


def edges_of(rel: Relation, value: torch.Tensor | None) -> list[list[tuple[int, int]]]:
    assert value is not None
    flat = list(zip(value.tolist(), rel.col.tolist(), strict=True))
    bounds = rel.indptr.tolist()
    return [flat[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def test_empty_relation() -> None:
    for rel in (relation([[], []], timed=True), relation([[], []], timed=False)):
        rows = torch.tensor([1, 0])
        assert rel.longest == 0
        assert packed(rel, rows, 3)[1].tolist() == [0, 0, 0]
        assert not window(rel, rows, rel.indptr[rows], 3)[1].any()
        assert rel.reverse().n_rows == N_COLS and rel.reverse().n_edges == 0
