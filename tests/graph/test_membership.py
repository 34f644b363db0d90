"""Exact masks of false negatives, by every way that there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from micgraph.graph import membership
from micgraph.graph.membership import members
from micgraph.graph.relation import Relation
from tests.toy import random_rows, timed, weighted

CLICKS = random_rows()
PAIRS = {(user, item) for user, row in enumerate(CLICKS) for _, item in row}
ROWS, COLS = st.lists(st.integers(0, 8), max_size=6), st.lists(st.integers(0, 13), max_size=9)


def relation(by_time: bool) -> Relation:
    return timed(CLICKS, 14) if by_time else weighted(dict.fromkeys(PAIRS, 1), 14)


def check(way: Callable[[Relation, Tensor, Tensor], Tensor], rel: Relation, rows: list[int], cols: list[int]) -> None:
    mask = way(rel, torch.tensor(rows, dtype=torch.int64), torch.tensor(cols, dtype=torch.int64))
    assert mask.dtype == torch.bool and mask.shape == (len(rows), len(cols))
    assert mask.tolist() == [[(row, col) in PAIRS for col in cols] for row in rows]


@given(ROWS, COLS, st.booleans())
def test_who_clicked_what(rows: list[int], cols: list[int], by_time: bool) -> None:
    check(members, relation(by_time), rows, cols)


@pytest.mark.parametrize("way", [membership._by_rows, membership._by_columns])
@given(ROWS, COLS, st.booleans())
def test_the_ways_of_a_cpu(
    way: Callable[[Relation, Tensor, Tensor], Tensor], rows: list[int], cols: list[int], by_time: bool
) -> None:
    check(way, relation(by_time), rows, cols)


def test_sources_are_the_edges_by_column() -> None:
    start, row = relation(True).sources
    found = [(user, item) for item in range(14) for user in row[start[item] : start[item + 1]].tolist()]
    assert found == [(user, item) for item in range(14) for user, row in enumerate(CLICKS) for _, i in row if i == item]


@given(ROWS, COLS)
def test_the_ways_of_a_gpu(rows: list[int], cols: list[int]) -> None:
    check(membership._by_table, relation(True), rows, cols)
    check(membership._by_search, relation(False), rows, cols)


@pytest.mark.parametrize("way", [members, membership._by_table, membership._by_search])
def test_no_edges_at_all(way: Callable[[Relation, Tensor, Tensor], Tensor]) -> None:
    nobody = timed([[], []], 3)
    empty = Relation(nobody.indptr, nobody.col, 3, time=None if way is membership._by_search else nobody.time)
    assert way(empty, torch.tensor([1, 0]), torch.tensor([0, 2, 0])).tolist() == [[False] * 3] * 2
