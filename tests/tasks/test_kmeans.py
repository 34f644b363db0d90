"""k-means++ against loops, and the draws from other clusters."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph import rng
from micgraph.tasks import kmeans as module
from micgraph.tasks.kmeans import Clusters, kmeans, nearest


def blobs(n: int = 60, groups: int = 4, spread: float = 0.05, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % groups
    centre = 3 * torch.eye(groups)
    return centre[label] + spread * torch.randn(n, groups, generator=generator), label


def squared(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True))


@pytest.mark.parametrize("seed", range(8))
def test_separate_groups_are_found_whatever_the_seed(seed: int) -> None:
    """k-means++ starts in each far group once; seeding at random would miss one of four in most of the cases."""
    x, want = blobs()
    _, label = kmeans(x, 4, seed)
    pairs = {(int(a), int(b)) for a, b in zip(label, want, strict=True)}
    assert len(pairs) == 4


@pytest.mark.parametrize("k", [1, 3, 7])
def test_a_fixed_point_of_lloyds_steps(k: int) -> None:
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(3))
    centres, label = kmeans(x, k, key=5, iterations=100)
    for row, own in enumerate(label.tolist()):
        distance = [squared(x[row], centre) for centre in centres]
        assert distance[own] == pytest.approx(min(distance))
    for c in range(k):
        rows = [row for row, own in enumerate(label.tolist()) if own == c]
        for column in range(3):
            assert float(centres[c, column]) == pytest.approx(
                sum(float(x[r, column]) for r in rows) / len(rows), abs=1e-5
            )


def test_each_step_brings_rows_nearer_to_their_centres() -> None:
    x = torch.randn(80, 4, generator=torch.Generator().manual_seed(1))
    cost = []
    for iterations in range(6):
        centres, label = kmeans(x, 6, key=2, iterations=iterations)
        cost.append(sum(squared(x[row], centres[own]) for row, own in enumerate(label.tolist())))
    assert all(b <= a + 1e-4 for a, b in zip(cost, cost[1:], strict=False)) and cost[-1] < cost[0]


def test_seeds_are_drawn_by_squared_distance() -> None:
    """From row 0 the others lie 1, 2 and 3 away: drawn as 1 : 4 : 9, and itself never."""
    x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    second = Counter()
    for key in range(6000):
        first, other = module._seeds(x, 2, key).tolist()
        if first == 0:
            second[other] += 1
    total = sum(second.values())
    assert set(second) == {1, 2, 3}
    for row, weight in ((1, 1), (2, 4), (3, 9)):
        assert second[row] / total == pytest.approx(weight / 14, abs=0.04)


def test_equal_rows_and_more_clusters_than_rows() -> None:
    centres, label = kmeans(torch.ones(5, 2), 3, key=1)
    assert centres.shape == (3, 2) and label.tolist() == [0] * 5
    centres, label = kmeans(torch.tensor([[0.0], [9.0]]), 100, key=1)
    assert centres.shape == (2, 1) and sorted(label.tolist()) == [0, 1]


def test_the_same_key_gives_the_same_clusters() -> None:
    x, _ = blobs(spread=1.0)
    a, b, other = kmeans(x, 8, key=4), kmeans(x, 8, key=4), kmeans(x, 8, key=5)
    assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) and not torch.equal(a[0], other[0])


def test_nearest_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, centres = torch.randn(33, 3), torch.randn(5, 3)
    whole = nearest(x, centres)
    monkeypatch.setattr(module, "CHUNK", 12)
    assert torch.equal(nearest(x, centres), whole)
    assert nearest(x[:0], centres).shape == (0,)


LABELS = st.lists(st.integers(-1, 4), min_size=1, max_size=20)


@given(LABELS, st.integers(0, 4), st.booleans())
def test_draws_come_from_other_clusters(labels: list[int], own: int, closest: bool) -> None:
    label, centres = torch.tensor(labels), torch.tensor([[0.0], [1.0], [3.0], [7.0], [20.0]])
    clusters = Clusters.of(label, centres)
    drawn = clusters.others(torch.tensor([own]), rng.bits(9, torch.arange(1), 400), closest)[0].tolist()
    others = [row for row, c in enumerate(labels) if c not in (-1, own)]
    if closest and others:
        gap = min(abs(float(centres[labels[row]] - centres[own])) for row in others)
        others = [row for row in others if abs(float(centres[labels[row]] - centres[own])) == gap]
    assert set(drawn) == (set(others) or {-1})


def test_every_row_outside_is_drawn_equally_often() -> None:
    label, centres = torch.tensor([2, 0, 0, 1, 2, 2, -1, 0]), torch.arange(3.0)[:, None]
    clusters = Clusters.of(label, centres)
    drawn = clusters.others(torch.tensor([0]), rng.bits(1, torch.arange(1), 40_000), False)[0]
    share = torch.bincount(drawn, minlength=8) / len(drawn)
    assert share.tolist() == pytest.approx([0.25, 0, 0, 0.25, 0.25, 0.25, 0, 0], abs=0.02)
