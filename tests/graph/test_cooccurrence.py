"""Co-occurrence counts, and exact sparse products with their cuts, against loops."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse as sp

from micgraph.graph import baskets, cooccurrence, sparse
from micgraph.graph.baskets import distinct_baskets
from micgraph.graph.cooccurrence import co_occurrences
from micgraph.graph.relation import Relation

N_ITEMS = 7
sessions = st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=6), max_size=12)


def contains(lists: list[list[int]]) -> Relation:
    indptr = torch.tensor([0] + [len(s) for s in lists], dtype=torch.int64).cumsum(0)
    return Relation(indptr, torch.tensor([i for s in lists for i in s], dtype=torch.int32), N_ITEMS)


def as_dict(rel: Relation) -> dict[tuple[int, int], int]:
    return dict(zip(zip(rel.row_index().tolist(), rel.col.tolist(), strict=True), rel.weight().tolist(), strict=True))


@given(sessions, st.sampled_from([None, 1, 2, 3]), st.sampled_from([1, 5, 1 << 24]))
def test_counts_are_pairs_in_sessions(lists: list[list[int]], top_k: int | None, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooccurrence, "WORK", block)
        rel = co_occurrences(distinct_baskets(contains(lists)), top_k)
    counts = Counter(pair for s in lists for pair in permutations(set(s), 2))
    expected = {}
    for item in range(N_ITEMS):
        ranked = sorted((-n, b) for (a, b), n in counts.items() if a == item)
        expected |= {(item, b): -n for n, b in ranked[:top_k]}
    assert as_dict(rel) == expected
    assert list(as_dict(rel)) == sorted(expected)
    assert rel.n_rows == rel.n_cols == N_ITEMS and rel.cum is not None and rel.cum.dtype == torch.int32


@given(sessions)
def test_without_a_cut_it_is_symmetric(lists: list[list[int]]) -> None:
    rel = co_occurrences(distinct_baskets(contains(lists)))
    assert as_dict(rel.reverse()) == as_dict(rel)


@pytest.mark.parametrize(("size", "warnings"), [(4, 0), (5, 1)])
def test_a_very_long_session_is_named_with_its_size_and_a_remedy(
    size: int, warnings: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(baskets, "LONG_SESSION", 4)
    with caplog.at_level(logging.WARNING):
        rel = co_occurrences(distinct_baskets(contains([[0, 1], [*range(size), *range(size)]])))
    assert rel.n_edges == size * (size - 1), "no cap"
    assert len(caplog.messages) == warnings
    for message in caplog.messages:
        assert message.startswith("1 of 2 sessions have more than 4 distinct items, the longest 5")
        assert "20 co-occurrence edges" in message and "session_gap" in message


values = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5]), min_size=4, max_size=4), min_size=1, max_size=8)


@given(values, st.integers(1, 9), st.booleans())
def test_keep_top_and_its_ties(matrix: list[list[float]], k: int, near: bool) -> None:
    dense = np.array(matrix)
    n = dense.shape[1]
    row, col = np.nonzero(dense)
    kept = sparse.keep_top(row, col, dense[row, col], k, n, near)
    expected = set()
    for i in range(len(dense)):
        order = sorted(np.flatnonzero(dense[i]), key=lambda j: (-dense[i, j], (j - i) % n if near else j))
        expected |= {(i, int(j)) for j in order[:k]}
    assert set(zip(kept[0].tolist(), kept[1].tolist(), strict=True)) == expected
    assert np.array_equal(kept[2], dense[kept[0], kept[1]])


def test_gram_equals_the_dense_product_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    a = sp.random(40, 15, density=0.3, format="csr", random_state=3, dtype=np.float64)
    expected = (a @ a.T).toarray()
    np.fill_diagonal(expected, 0)
    monkeypatch.setattr(sparse, "BLOCK", 50)
    row, col, value = sparse.gram(a)
    assert np.array_equal(np.stack([row, col]), np.stack(np.nonzero(expected)))
    np.testing.assert_allclose(value, expected[row, col])
