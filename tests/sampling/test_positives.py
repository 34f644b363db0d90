"""Weights of session positives against loops (DECISIONS 12 and 16)."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from micgraph import rng
from micgraph.graph.relation import draw
from micgraph.sampling.positives import reweight_sessions
from tests.toy import weighted

N = 6
COUNTS = {(a, b): 1 + (a * b) % 4 for a in range(N) for b in range(N) if a != b and (a + b) % 4}
CATEGORY = [1, 2, 1, 0, 0, 2]
POPULARITY = [3, 10, 1, 40, 2, 7]


def shares(boost: float, beta: float) -> dict[tuple[int, int], float]:
    """Each edge's probability within its row."""
    raw = {}
    for (a, b), count in COUNTS.items():
        factor = boost if CATEGORY[a] == CATEGORY[b] and CATEGORY[a] != 0 else 1.0
        raw[a, b] = count * factor / (POPULARITY[a] * POPULARITY[b]) ** beta
    return {(a, b): w / sum(v for (r, _), v in raw.items() if r == a) for (a, b), w in raw.items()}


def reweighted(boost: float, beta: float):
    rel = weighted(COUNTS, N)
    return reweight_sessions(rel, torch.tensor(CATEGORY), torch.tensor(POPULARITY), boost, beta)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("boost", [1.0, 2.0, 3.7])
def test_weights_have_the_right_proportions(boost: float, beta: float) -> None:
    rel, want = reweighted(boost, beta), shares(boost, beta)
    weight, row = rel.weight().tolist(), rel.row_index().tolist()
    totals = Counter()
    for r, w in zip(row, weight, strict=True):
        totals[r] += w
    got = {(r, int(c)): w / totals[r] for r, c, w in zip(row, rel.col, weight, strict=True)}
    assert got == pytest.approx(want, rel=1e-6)
    assert min(weight) >= 1 and max(totals.values()) < 2**31


def test_without_boost_and_beta_the_counts_stay() -> None:
    assert reweighted(1.0, 0.0).weight().tolist() == [COUNTS[key] for key in sorted(COUNTS)]


def test_the_smallest_weight_can_still_be_drawn() -> None:
    rel = weighted({(0, 1): 1, (0, 2): 1}, 3)
    popularity = torch.tensor([1, 2**40, 1])
    got = reweight_sessions(rel, torch.zeros(3, dtype=torch.int64), popularity, 1.0, 1.0)
    assert got.weight().tolist()[0] == 1


def test_draws_follow_the_weights() -> None:
    rel, want, n = reweighted(2.0, 0.5), shares(2.0, 0.5), 20_000
    for row in range(N):
        drawn, _, valid = draw(rel, torch.tensor([row]), n, rng.make_key("test", row), weighted=True)
        assert valid.all()
        found = Counter(drawn[0].tolist())
        edges = [b for a, b in sorted(want) if a == row]
        assert set(found) <= set(edges)
        assert chisquare([found[b] for b in edges], [want[row, b] * n for b in edges]).pvalue > 0.001
