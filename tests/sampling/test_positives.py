"""Weights of session positives against loops (DECISIONS 12 and 16)."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from micgraph import rng
from micgraph.graph.tickets import draw
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Requires
from micgraph.sampling.positives import reweight_sessions
from micgraph.sampling.samples import SamplingConfig
from tests.toy import pair_counts, random_rows, toy_graph, weighted

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


@pytest.mark.parametrize(("boost", "beta"), [(1.0, 0.0), (2.0, 0.0), (3.0, 0.7)])
def test_the_sampler_draws_by_its_settings(boost: float, beta: float) -> None:
    """Over many steps, every anchor's positives come in the proportions of its counts, boost and popularities."""
    rows = random_rows(n_users=12, n_items=6, seed=2)
    graph = toy_graph(rows, 6)
    config = SamplingConfig(batch_size=100, same_category_boost=boost, beta=beta)
    need = Requires(negatives=("uniform", 1), positives="co_occurs")
    sampler = BatchSampler(graph, config, [need], 3)
    popularity, category = graph.popularity().tolist(), graph.category.tolist()
    raw = {
        (a, b): n * (boost if category[a] == category[b] > 0 else 1.0) / (popularity[a] * popularity[b]) ** beta
        for (a, b), n in pair_counts(rows).items()
    }
    found: Counter[tuple[int, int]] = Counter()
    order = sampler.order(0)
    for epoch in range(400):
        batch = sampler.batch(epoch, 0, order)
        drawn = batch.positives["co_occurs"]
        anchors, partners = batch.items[batch.item_anchor], batch.items[drawn.item]
        found.update(zip(anchors[drawn.valid].tolist(), partners[drawn.valid].tolist(), strict=True))
    for row in {a for a, _ in found}:
        edges = [edge for edge in raw if edge[0] == row]
        times, total = sum(found[edge] for edge in edges), sum(raw[edge] for edge in edges)
        if len(edges) > 1:
            want = [raw[edge] / total * times for edge in edges]
            assert chisquare([found[edge] for edge in edges], want).pvalue > 0.001
    assert sum(found.values()) > 1000
