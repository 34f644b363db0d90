"""Every primitive against plain loops over lists of edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from micgraph import rng
from micgraph.graph.relation import (
    Relation,
    draw,
    locate,
    members,
    packed,
    row_cumsum,
    search,
    spans,
    window,
)

N_COLS = 6


@dataclass
class Rows:
    """Edges as lists, and the same as a Relation."""

    edges: list[list[tuple[int, int]]]  # (time or weight, column)
    rel: Relation

    def columns(self, row: int) -> list[int]:
        return [col for _, col in self.edges[row]]

    def start(self, row: int) -> int:
        return sum(len(edges) for edges in self.edges[:row])


def relation(edges: list[list[tuple[int, int]]], timed: bool) -> Relation:
    flat = [edge for row in edges for edge in row]
    indptr = torch.tensor(np.cumsum([0] + [len(row) for row in edges]), dtype=torch.int64)
    col = torch.tensor([c for _, c in flat], dtype=torch.int32)
    first = torch.tensor([v for v, _ in flat], dtype=torch.int32)
    if timed:
        return Relation(indptr, col, N_COLS, time=first)
    return Relation(indptr, col, N_COLS, cum=row_cumsum(indptr, first))


edge = st.tuples(st.integers(0, 5), st.integers(0, N_COLS - 1))
timed_rows = st.lists(
    st.lists(edge, max_size=8).map(lambda r: sorted(r, key=lambda e: e[0])), min_size=1, max_size=5
).map(lambda edges: Rows(edges, relation(edges, timed=True)))
weighted_row = st.dictionaries(st.integers(0, N_COLS - 1), st.integers(1, 4)).map(
    lambda row: [(weight, col) for col, weight in sorted(row.items())]
)
weighted_rows = st.lists(weighted_row, min_size=1, max_size=5).map(
    lambda edges: Rows(edges, relation(edges, timed=False))
)


def some(data: st.DataObject, rows: Rows) -> list[int]:
    return data.draw(st.lists(st.integers(0, len(rows.edges) - 1), max_size=6))


def tensor(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


@given(timed_rows, st.data())
def test_window_is_a_slice_before_the_stop(rows: Rows, data: st.DataObject) -> None:
    asked = some(data, rows)
    cut = [data.draw(st.integers(0, len(rows.edges[r]))) for r in asked]
    size = data.draw(st.integers(1, 4))
    stop = tensor([rows.start(r) + c for r, c in zip(asked, cut, strict=True)])
    eid, mask = window(rows.rel, tensor(asked), stop, size)
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


@given(st.lists(st.integers(0, 9), max_size=20).map(sorted), st.data())
def test_search_is_bisection_in_slices(values: list[int], data: st.DataObject) -> None:
    bounds = data.draw(st.lists(st.tuples(*[st.integers(0, len(values))] * 2).map(sorted), max_size=4))
    target = [data.draw(st.integers(-1, 10)) for _ in bounds]
    start, end = tensor([b[0] for b in bounds]), tensor([b[1] for b in bounds])
    for right in (False, True):
        found = search(tensor(values), start, end, tensor(target), right=right).tolist()
        for (low, high), t, at in zip(bounds, target, found, strict=True):
            assert at == low + sum((v <= t) if right else (v < t) for v in values[low:high])


@given(timed_rows, st.data())
def test_members_of_timed_rows(rows: Rows, data: st.DataObject) -> None:
    check_members(rows, data)


@given(weighted_rows, st.data())
def test_members_of_rows_ordered_by_column(rows: Rows, data: st.DataObject) -> None:
    check_members(rows, data)


def check_members(rows: Rows, data: st.DataObject) -> None:
    asked = some(data, rows)
    cols = data.draw(st.lists(st.integers(0, N_COLS - 1), unique=True))
    row, col = members(rows.rel, tensor(asked), tensor(cols))
    pairs = list(zip(row.tolist(), col.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    assert set(pairs) == {(i, j) for i, r in enumerate(asked) for j, c in enumerate(cols) if c in rows.columns(r)}


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


@given(weighted_rows, st.data())
def test_draw_gives_every_edge_as_many_tickets_as_it_weighs(rows: Rows, data: st.DataObject) -> None:
    """With every ticket drawn once, an edge comes out exactly as often as it weighs, and an excluded one never."""
    weighted = data.draw(st.booleans())
    row = data.draw(st.integers(0, len(rows.edges) - 1))
    banned = data.draw(st.integers(-1, N_COLS - 1))
    expected = [col for weight, col in rows.edges[row] for _ in range(weight if weighted else 1) if col != banned]
    k = max(len(expected), 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rng, "integers", lambda key, sample, slots, high: torch.arange(slots)[None, :])
        col, eid, mask = draw(rows.rel, tensor([row]), k, 1, weighted=weighted, exclude=tensor([banned]))
    assert sorted(col[mask].tolist()) == sorted(expected)
    assert bool(mask.all()) == bool(expected)
    assert rows.rel.col[eid[mask]].tolist() == col[mask].tolist()
    assert (col[~mask] == 0).all() and (eid[~mask] == 0).all()


@given(weighted_rows, st.data())
def test_drawn_edges_belong_to_their_rows(rows: Rows, data: st.DataObject) -> None:
    asked = some(data, rows)
    banned = [data.draw(st.integers(-1, N_COLS - 1)) for _ in asked]
    weighted = data.draw(st.booleans())
    col, eid, mask = draw(rows.rel, tensor(asked), 5, 3, weighted=weighted, exclude=tensor(banned))
    for line, (r, out) in enumerate(zip(asked, banned, strict=True)):
        allowed = set(rows.columns(r)) - {out}
        assert mask[line].tolist() == [bool(allowed)] * 5
        assert set(col[line][mask[line]].tolist()) <= allowed
        low, high = rows.start(r), rows.start(r) + len(rows.edges[r])
        assert all(low <= e < high for e in eid[line][mask[line]].tolist())


@given(timed_rows)
def test_draw_from_timed_rows_is_uniform_over_edges(rows: Rows) -> None:
    asked = list(range(len(rows.edges)))
    col, eid, mask = draw(rows.rel, tensor(asked), 4, 9)
    for r in asked:
        assert mask[r].tolist() == [bool(rows.edges[r])] * 4
        assert set(col[r][mask[r]].tolist()) <= set(rows.columns(r))


@pytest.mark.parametrize(("weighted", "exclude"), [(False, -1), (True, -1), (True, 2), (False, 2)])
def test_draws_follow_the_weights(weighted: bool, exclude: int) -> None:
    edges = [[], [(1, 0), (5, 2), (2, 3), (12, 5)], [(3, 1)]]
    rel = relation(edges, timed=False)
    n = 4000
    rows = torch.ones(n, dtype=torch.int64)
    excluded = torch.full((n,), exclude)
    col, _, mask = draw(rel, rows, 5, rng.make_key("draw"), torch.arange(n), weighted, excluded)
    kept = [(w if weighted else 1, c) for w, c in edges[1] if c != exclude]
    counts = torch.bincount(col.flatten(), minlength=N_COLS)
    assert mask.all() and counts.sum() == counts[[c for _, c in kept]].sum()
    expected = np.array([w for w, _ in kept]) / sum(w for w, _ in kept) * n * 5
    assert chisquare(counts[[c for _, c in kept]].numpy(), expected).pvalue > 1e-3


@settings(max_examples=20)
@given(weighted_rows, st.permutations(range(4)))
def test_a_draw_does_not_depend_on_the_batch(rows: Rows, order: list[int]) -> None:
    asked = tensor([i % len(rows.edges) for i in range(4)])
    number = torch.arange(4) + 100
    whole = draw(rows.rel, asked, 3, 5, number, weighted=True)[0]
    shuffled = draw(rows.rel, asked[order], 3, 5, number[order], weighted=True)[0]
    assert torch.equal(whole[order], shuffled)
    assert torch.equal(whole[2:3], draw(rows.rel, asked[2:3], 3, 5, number[2:3], weighted=True)[0])


def test_empty_relation() -> None:
    for rel in (relation([[], []], timed=True), relation([[], []], timed=False)):
        rows = torch.tensor([1, 0])
        col, eid, mask = draw(rel, rows, 2, 1, weighted=True)
        assert not mask.any() and not col.any() and not eid.any()
        assert members(rel, rows, torch.tensor([0, 3]))[0].numel() == 0
        assert packed(rel, rows, 3)[1].tolist() == [0, 0, 0]
        assert not window(rel, rows, rel.indptr[rows], 3)[1].any()
        assert rel.reverse().n_rows == N_COLS and rel.reverse().n_edges == 0
    col, _, mask = draw(relation([[], []], timed=False), rows, 2, 1, weighted=True, exclude=torch.tensor([1, -1]))
    assert not mask.any() and not col.any()
