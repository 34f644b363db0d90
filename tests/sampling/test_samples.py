"""Which clicks are targets, against a loop over clicks; and what knowing them takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.sampling.samples import Samples, SamplingConfig
from tests.toy import Rows, random_rows, timed


def targets(rows: Rows, least: int, strict: bool) -> list[tuple[int, int]]:
    """Row and offset of every click with enough clicks before it."""
    found, offset = [], 0
    for user, row in enumerate(rows):
        for place, (time, _) in enumerate(row):
            before = sum(t < time for t, _ in row) if strict else place
            if before >= least:
                found.append((user, offset + place))
        offset += len(row)
    return found


@given(st.integers(0, 50), st.integers(0, 6), st.booleans())
def test_clicks_with_enough_history_are_targets(seed: int, least: int, strict: bool) -> None:
    rows = random_rows(seed=seed)
    clicks = timed(rows, 14)
    expected = targets(rows, least, strict)
    made = Samples(clicks, SamplingConfig(samples="clicks", min_history=least, strict=strict), 5)
    assert len(made) == len(expected)
    if expected:
        cut = made.cut(torch.arange(len(made)), 0)
        assert list(zip(cut.row.tolist(), cut.target.tolist(), strict=True)) == expected
    users = Samples(clicks, SamplingConfig(samples="users", min_history=least, strict=strict), 5)
    assert users.rows.tolist() == sorted({row for row, _ in expected})
    if expected:
        for key in range(3):
            one = users.cut(torch.arange(len(users)), key)
            assert set(zip(one.row.tolist(), one.target.tolist(), strict=True)) <= set(expected)


@pytest.mark.parametrize("samples", ["clicks", "users", "positions"])
def test_nothing_is_kept_for_each_click(samples: Any) -> None:
    rows: Rows = [[(second, 0) for second in range(1000)] for _ in range(4)]
    made = Samples(timed(rows, 1), SamplingConfig(samples=samples), 100)
    kept = {name: value.numel() for name, value in vars(made).items() if isinstance(value, torch.Tensor)}
    assert kept and sum(kept.values()) < 200 and len(made) in (4 * 999, 4, 4 * 10)
