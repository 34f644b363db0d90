"""Draws against plain loops over lists of edges, and the compiled loops against the tensor programs."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from micgraph import rng
from micgraph.graph import tickets
from micgraph.graph.tickets import draw
from tests.edge_lists import N_COLS, Rows, relation, some, tensor, timed_rows, weighted_rows


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
        patch.setattr(tickets, "_by_compiled", tickets._by_tensors)
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


@given(weighted_rows, st.integers(0, 2**63 - 1), st.data())
def test_compiled_draws_are_those_of_the_tensor_programs(rows: Rows, key: int, data: st.DataObject) -> None:
    asked = some(data, rows)
    sample = tensor([data.draw(st.integers(0, 2**40)) for _ in asked])
    banned = tensor([data.draw(st.integers(-1, N_COLS - 1)) for _ in asked])
    weighted, replace = data.draw(st.booleans()), data.draw(st.booleans())
    k = data.draw(st.integers(1, 7))
    by_tensors = tickets._by_tensors if replace else tickets._distinct_by_tensors
    compiled = draw(rows.rel, tensor(asked), k, key, sample, weighted, banned, replace)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tickets, "_by_compiled", by_tensors)
        tensors = draw(rows.rel, tensor(asked), k, key, sample, weighted, banned, replace)
    assert [x.tolist() for x in compiled] == [x.tolist() for x in tensors]


@given(weighted_rows, st.data())
def test_without_replacement_no_edge_comes_twice(rows: Rows, data: st.DataObject) -> None:
    asked = some(data, rows)
    banned = [data.draw(st.integers(-1, N_COLS - 1)) for _ in asked]
    weighted, k = data.draw(st.booleans()), data.draw(st.integers(1, 7))
    out = tensor(banned)
    col, eid, mask = draw(rows.rel, tensor(asked), k, 3, weighted=weighted, exclude=out, replace=False)
    for line, (r, one) in enumerate(zip(asked, banned, strict=True)):
        allowed = set(rows.columns(r)) - {one}
        there = min(k, len(allowed))
        assert mask[line].tolist() == [True] * there + [False] * (k - there)
        found = col[line][mask[line]].tolist()
        assert len(set(found)) == there and set(found) <= allowed
        assert rows.rel.col[eid[line][mask[line]]].tolist() == found
        assert not col[line][~mask[line]].any() and not eid[line][~mask[line]].any()


@pytest.mark.parametrize("weighted", [False, True])
def test_without_replacement_each_order_comes_as_often_as_urns_give_it(weighted: bool) -> None:
    """Ordered pairs from an urn without putting back, in proportion to the weights of what is left."""
    weight = {0: 1, 2: 5, 3: 2, 5: 12} if weighted else {0: 1, 2: 1, 3: 1, 5: 1}
    rel = relation([[(7, 1)], [(weight[c], c) for c in weight]], timed=False)
    n, total = 20_000, sum(weight.values())
    rows = torch.ones(n, dtype=torch.int64)
    col, _, mask = draw(rel, rows, 2, rng.make_key("urn"), torch.arange(n), weighted, replace=False)
    assert bool(mask.all())
    found = Counter(map(tuple, col.tolist()))
    due = {
        (a, b): Fraction(weight[a], total) * Fraction(weight[b], total - weight[a]) for a, b in permutations(weight, 2)
    }
    assert sum(due.values()) == 1 and set(found) <= set(due)
    assert chisquare([found[pair] for pair in due], [float(share * n) for share in due.values()]).pvalue > 1e-3


def test_empty_relation() -> None:
    rows = torch.tensor([1, 0])
    for rel in (relation([[], []], timed=True), relation([[], []], timed=False)):
        for replace in (True, False):
            col, eid, mask = draw(rel, rows, 2, 1, weighted=True, replace=replace)
            assert not mask.any() and not col.any() and not eid.any()
    col, _, mask = draw(relation([[], []], timed=False), rows, 2, 1, weighted=True, exclude=torch.tensor([1, -1]))
    assert not mask.any() and not col.any()
