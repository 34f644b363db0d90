"""Negatives in exact proportion, with the probabilities that belong to them."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from micgraph import rng
from micgraph.sampling.negatives import NegativeSampler

COUNTS = [0, 5, 1, 0, 20, 4, 0]


def drawn(sampler: NegativeSampler, n: int, seed: int = 0) -> Counter[int]:
    return Counter(sampler.draw(n, rng.make_key(seed, "test")).tolist())


def test_popularity_draws_in_proportion_to_clicks_and_says_so() -> None:
    sampler = NegativeSampler.popularity(torch.tensor(COUNTS))
    total, n = sum(COUNTS), 60_000
    found = drawn(sampler, n)
    present = [i for i, count in enumerate(COUNTS) if count]
    assert set(found) == set(present)
    assert chisquare([found[i] for i in present], [COUNTS[i] / total * n for i in present]).pvalue > 0.001
    for item, log_q in enumerate(sampler.log_q().tolist()):
        assert log_q == (pytest.approx(math.log(COUNTS[item] / total)) if COUNTS[item] else -math.inf)


def test_every_ticket_of_popularity_belongs_to_one_click() -> None:
    """Exact, not only in distribution: item i owns as many tickets as it has clicks."""
    sampler = NegativeSampler.popularity(torch.tensor(COUNTS))
    tickets = torch.searchsorted(sampler.tickets, torch.arange(sum(COUNTS)), right=True)
    assert torch.bincount(tickets, minlength=len(COUNTS)).tolist() == COUNTS


def test_uniform_draws_every_item_alike() -> None:
    sampler, n = NegativeSampler.uniform(9), 45_000
    found = drawn(sampler, n)
    assert set(found) == set(range(9)) and chisquare(list(found.values())).pvalue > 0.001
    assert sampler.log_q().tolist() == pytest.approx([math.log(1 / 9)] * 9)


def test_draws_depend_on_the_key_alone() -> None:
    sampler = NegativeSampler.uniform(1000)
    assert torch.equal(sampler.draw(50, 7), sampler.draw(50, 7))
    assert torch.equal(sampler.draw(80, 7)[:50], sampler.draw(50, 7))
    assert not torch.equal(sampler.draw(50, 7), sampler.draw(50, 8))
