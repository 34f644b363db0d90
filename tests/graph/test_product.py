"""Sparse products against loops over edges: forward, backward, and torch-sparse against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph.product import propagate
from micgraph.graph.relation import Relation

N_COLS = 5
edges = st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, N_COLS - 1)), max_size=7), min_size=1, max_size=6)


def made(rows: list[list[tuple[int, int]]]) -> Relation:
    flat = sorted((row, time, col) for row, found in enumerate(rows) for time, col in found)
    indptr = torch.tensor([0, *torch.tensor([len(found) for found in rows]).cumsum(0).tolist()])
    col = torch.tensor([col for _, _, col in flat], dtype=torch.int32)
    return Relation(indptr, col, N_COLS, time=torch.tensor([time for _, time, _ in flat], dtype=torch.int32))


def looped(rel: Relation, x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    y = [0 * x[0] for _ in range(rel.n_rows)]
    for e, (row, col) in enumerate(zip(rel.row_index().tolist(), rel.col.tolist(), strict=True)):
        y[row] = y[row] + x[col] * (1 if weight is None else weight[e])
    return torch.stack(y)


def by_pair(rel: Relation, turned: bool) -> torch.Tensor:
    """A weight that depends on the two ends alone, so that it can be told in either direction."""
    row, col = rel.row_index(), rel.col.long()
    return (1.0 + (col if turned else row) * 0.5 + (row if turned else col) * 0.25).double()


@given(edges, st.booleans(), st.booleans())
def test_the_product_and_its_gradient_are_those_of_loops(
    rows: list[list[tuple[int, int]]], weighted: bool, both: bool
) -> None:
    rel = made(rows)
    back = rel.reverse()
    weight = by_pair(rel, False) if weighted else None
    transposed = (back, by_pair(back, True) if weighted else None) if both else None
    x = torch.rand(N_COLS, 3, dtype=torch.float64, requires_grad=True)
    y = propagate(rel, x, weight, transposed)
    want = looped(rel, x, weight)
    torch.testing.assert_close(y, want)
    pull = torch.rand_like(y)
    got, expected = (torch.autograd.grad((z * pull).sum(), x, retain_graph=True)[0] for z in (y, want))
    torch.testing.assert_close(got, expected)


def test_no_edges_give_zeros() -> None:
    rel = made([[], []])
    for transposed in (None, (rel.reverse(), None)):
        assert propagate(rel, torch.ones(N_COLS, 2), None, transposed).tolist() == [[0, 0], [0, 0]]


@given(edges, st.booleans())
def test_torch_sparse_gives_the_same(rows: list[list[tuple[int, int]]], weighted: bool) -> None:
    pytest.importorskip("torch_sparse", reason="torch-sparse (the extra 'sparse') is not installed")
    rel = made(rows)
    weight, turned = (by_pair(rel, False), by_pair(rel.reverse(), True)) if weighted else (None, None)
    found = []
    for backend in ("torch", "torch_sparse"):
        for transposed in (None, (rel.reverse(), turned)):
            x = torch.arange(3.0 * N_COLS, dtype=torch.float64).view(N_COLS, 3).requires_grad_()
            y = propagate(rel, x, weight, transposed, backend)
            y.square().sum().backward()
            found.append((y, x.grad))
    for y, grad in found[1:]:
        torch.testing.assert_close(y, found[0][0])
        torch.testing.assert_close(grad, found[0][1])
