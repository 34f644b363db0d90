"""Long sessions cut to neighbours in time, threads, and where the arrays lie, against loops."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from micgraph.graph import cooccurrence, pair_kernel
from micgraph.graph.baskets import distinct_baskets
from micgraph.graph.buffers import Buffers
from micgraph.graph.cooccurrence import co_occurrences
from micgraph.graph.relation import Relation
from micgraph.graph.sparse import gram
from micgraph.schema import InputError

N_ITEMS = 9
sessions = st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=9), max_size=8)


def contains(lists: list[list[int]], n_items: int = N_ITEMS) -> Relation:
    indptr = torch.tensor([0] + [len(s) for s in lists], dtype=torch.int64).cumsum(0)
    return Relation(indptr, torch.tensor([i for s in lists for i in s], dtype=torch.int32), n_items)


def as_dict(rel: Relation) -> dict[tuple[int, int], int]:
    return dict(zip(zip(rel.row_index().tolist(), rel.col.tolist(), strict=True), rel.weight().tolist(), strict=True))


def oracle(lists: list[list[int]], max_pairs: int) -> tuple[Counter[tuple[int, int]], int, int]:
    """Counts, cut sessions and pairs left out, where each session tries ever wider windows."""
    counts: Counter[tuple[int, int]] = Counter()
    cut = left_out = 0
    for session in lists:
        items = list(dict.fromkeys(session))
        ways = [
            [(a, b) for i, a in enumerate(items) for j, b in enumerate(items) if 0 < abs(i - j) <= distance]
            for distance in range(len(items) + 1)
        ]
        chosen = max((pairs for pairs in ways if len(pairs) <= max_pairs), key=len)
        counts.update(chosen)
        cut += chosen != ways[-1]
        left_out += len(ways[-1]) - len(chosen)
    return counts, cut, left_out


@given(sessions, st.integers(1, 75), st.integers(1, 4), st.sampled_from([None, 2]))
def test_long_sessions_are_cut_to_neighbours_in_time(
    lists: list[list[int]], max_pairs: int, threads: int, top_k: int | None
) -> None:
    expected, cut, left_out = oracle(lists, max_pairs)
    baskets = distinct_baskets(contains(lists), max_pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooccurrence, "WORK", 4)
        patch.setattr(torch, "get_num_threads", lambda: threads)
        rel = co_occurrences(baskets, top_k)
    kept = {}
    for item in range(N_ITEMS):
        ranked = sorted((-n, b) for (a, b), n in expected.items() if a == item)
        kept |= {(item, b): -n for n, b in ranked[:top_k]}
    assert as_dict(rel) == kept
    assert list(baskets.cuts.values()) == ([cut, left_out] if cut else [])


def test_cuts_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        baskets = distinct_baskets(contains([[0, 1, 2, 3], [0, 1]]), max_pairs=6)
    assert caplog.messages == ["1 sessions have more than 6 pairs: 6 pairs left out"]
    assert list(baskets.cuts.values()) == [1, 6]


@pytest.mark.parametrize("max_pairs", [None, 20])
def test_arrays_in_files_make_the_same_relation(tmp_path: Path, max_pairs: int | None) -> None:
    rng = np.random.default_rng(5)
    lists = [rng.integers(0, 40, size).tolist() for size in rng.integers(0, 12, 300)]
    buffers = Buffers(tmp_path)
    mapped = co_occurrences(distinct_baskets(contains(lists, 40), max_pairs, buffers), 7, buffers)
    assert not list(tmp_path.iterdir()), "the files are unlinked"
    expected = co_occurrences(distinct_baskets(contains(lists, 40), max_pairs), 7)
    for name, values in expected.tensors().items():
        assert torch.equal(mapped.tensors()[name], values) and mapped.tensors()[name].dtype == values.dtype


@pytest.mark.parametrize("top_k", [None, 1, 5, 100])
def test_many_items_as_by_the_sparse_product(top_k: int | None) -> None:
    rng = np.random.default_rng(2)
    share = 1 / np.arange(1, 201)
    lists = [rng.choice(200, size, p=share / share.sum()).tolist() for size in rng.integers(2, 31, 400)]
    ones = np.zeros((len(lists), 200), np.int32)
    for session, items in zip(ones, lists, strict=True):
        session[items] = 1
    row, col, count = gram(sparse.csr_matrix(ones.T), top_k)
    rel = co_occurrences(distinct_baskets(contains(lists, 200)), top_k)
    assert np.array_equal(rel.row_index(), row) and np.array_equal(rel.col, col) and np.array_equal(rel.weight(), count)


def test_no_session_at_all(tmp_path: Path) -> None:
    for buffers in (Buffers(), Buffers(tmp_path)):
        rel = co_occurrences(distinct_baskets(contains([]), 5, buffers), 3, buffers)
        assert rel.n_rows == N_ITEMS and rel.n_edges == 0 and rel.cum is not None and rel.cum.dtype == torch.int32


def test_sums_that_int32_does_not_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_kernel, "count_block", lambda *_: 2**31)
    with pytest.raises(InputError, match="sum to less than 2"):
        co_occurrences(distinct_baskets(contains([[0, 1]])))
