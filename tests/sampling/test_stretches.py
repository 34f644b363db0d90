"""Second windows of a user: disjoint from the sample, as long as can be, and anywhere."""

from __future__ import annotations

import pytest
import torch

from micgraph.sampling.samples import Samples, SamplingConfig
from micgraph.sampling.stretches import other_stretch
from tests.toy import random_rows, timed

ROWS = [*random_rows(n_users=14, most=30), [(t, t % 14) for t in range(60)]]


@pytest.mark.parametrize("size", [3, 8])
@pytest.mark.parametrize("samples", ["clicks", "users", "positions"])
def test_a_stretch_shares_no_click_with_its_sample(samples: str, size: int) -> None:
    clicks = timed(ROWS, 14)
    made = Samples(clicks, SamplingConfig(samples=samples), 5)  # type: ignore[arg-type]
    seen: dict[int, set[tuple[int, ...]]] = {}
    pick = torch.arange(0, len(made), max(1, len(made) // 25))
    cut = made.cut(pick, 3)
    targets: dict[int, set[int]] = {}
    for row, target in zip(cut.pair_row.tolist(), cut.target.tolist(), strict=True):
        targets.setdefault(row, set()).add(target)
    for key in range(15):
        starts, stops = other_stretch(clicks, cut, size, key)
        assert starts.shape == stops.shape == (len(pick),)
        for b in range(len(pick)):
            used = set(range(int(cut.first[b]), int(cut.stop[b]))) | targets.get(b, set())
            low, high = int(clicks.indptr[cut.row[b]]), int(clicks.indptr[cut.row[b] + 1])
            first, last = (min(used), max(used)) if used else (high, high - 1)
            got = list(range(int(starts[b]), int(stops[b])))
            early = bool(got) and got[0] < first
            room = range(low, first) if early else range(last + 1, high)
            assert got == list(range(got[0], got[0] + len(got))) if got else not room
            assert set(got) <= set(room) and len(got) == min(size, len(room))
            seen.setdefault(b, set()).add(tuple(got))
    assert max(len(places) for places in seen.values()) > 5


def test_sides_are_drawn_by_their_clicks() -> None:
    clicks = timed([[(t, t) for t in range(13)]], 13)
    made = Samples(clicks, SamplingConfig(), 2)
    cut = made.cut(torch.tensor([2]), 0)  # reads clicks 1 and 2 and predicts 3: one click before, nine after
    assert (int(cut.first), int(cut.stop)) == (1, 3) and int(cut.target) == 3
    starts = torch.stack([other_stretch(clicks, cut, 2, key)[0] for key in range(4000)])[:, 0]
    share = torch.bincount(starts, minlength=13) / len(starts)
    assert share[0] == pytest.approx(0.1, abs=0.02)
    assert share[4:12].tolist() == pytest.approx([0.9 / 8] * 8, abs=0.02)
    assert share.sum() == share[0] + share[4:12].sum()
