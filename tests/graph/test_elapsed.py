"""Times between clicks against loops."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph.elapsed import CODES, gap_code, gaps
from micgraph.graph.relation import window
from tests.toy import timed

rows_of_times = st.lists(st.lists(st.integers(0, 2**30), max_size=6).map(sorted), min_size=1, max_size=4)


@given(rows_of_times, st.integers(1, 4))
def test_gaps_are_differences_within_a_row(times: list[list[int]], size: int) -> None:
    """A window that starts inside a row knows its first gap; the row's first click has none."""
    rel = timed([[(t, 0) for t in row] for row in times], 1)
    rows = torch.arange(len(times))
    eid, mask = window(rel, rows, rel.indptr[1:], size)
    found = gaps(rel.indptr, rel.time, rows, eid)
    for row, line in enumerate(times):
        whole = [-1] + [after - before for before, after in zip(line, line[1:], strict=False)]
        assert found[row][mask[row]].tolist() == whole[: len(line)][-size:]


def test_without_times_every_gap_is_unknown() -> None:
    eid = torch.tensor([[0, 1], [2, 0]])
    assert gaps(torch.tensor([0, 2, 3]), None, torch.tensor([0, 1]), eid).tolist() == [[-1, -1], [-1, -1]]


def test_codes_are_powers_of_two() -> None:
    seconds = [-1, 0, 1, 2, 3, 6, 7, 3599, 3600, 86400, 2**29, 2**31 - 2, 2**31 - 1, 2**40]
    want = [0] + [min(CODES - 1, 1 + int(math.log2(s + 1))) for s in seconds[1:]]
    assert gap_code(torch.tensor(seconds)).tolist() == want
    assert want[:7] == [0, 1, 2, 2, 3, 3, 4] and max(want) == CODES - 1
