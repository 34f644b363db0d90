"""The bank of the latest vectors: a ring, searched by brute force."""

from __future__ import annotations

import math
from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.tasks.bank import Bank
from micgraph.tasks.mining import MiningConfig
from tests.tasks.mined import cos, made

STEPS = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=8)


@given(STEPS)
def test_the_bank_is_a_ring_of_the_latest_vectors(steps: list[list[int]]) -> None:
    """Against an ordered dictionary: an id moves to the end with its newest vector; what left its place is gone."""
    bank = Bank(MiningConfig(mode="bank", bank=4), ("ii",))
    places: OrderedDict[int, tuple[int, float]] = OrderedDict()
    value, at = 0.0, 0
    for ids in steps:
        vectors = []
        for _ in ids:
            value += 1.0
            vectors.append([math.cos(value), math.sin(value)])
        bank.remember({"item_own": (torch.tensor(ids), torch.tensor(vectors))})
        last = dict(zip(ids, vectors, strict=True))
        order = sorted(last, key=lambda i: max(p for p, x in enumerate(ids) if x == i))[-4:]
        for i in order:
            places = OrderedDict((p, entry) for p, entry in places.items() if entry[0] != i)
        for i in order:
            places[at] = (i, last[i])
            at = (at + 1) % 4
    pool = bank.pool("item_own")
    assert {p: i for p, i in enumerate(pool.id.tolist()) if i >= 0} == {p: i for p, (i, _) in places.items()}
    for p, (_, vector) in places.items():
        assert pool.vectors[p].tolist() == pytest.approx(vector, abs=1e-6)


def test_the_bank_finds_the_nearest_of_what_it_holds() -> None:
    bank = Bank(MiningConfig(mode="bank", bank=16, k=3, start=1, hard=0), ("uu", "ui"))
    ids, vectors = torch.arange(20, 30), torch.randn(10, 4)
    bank.remember({"user_own": (ids, vectors), "user_search": (ids, vectors), "item_search": (ids, 2 * vectors)})
    bank.active = True
    anchors = torch.randn(5, 4)
    for direction, partner in (("uu", torch.tensor([20, 25, 3, 29, 21])), ("ui", torch.tensor([1, 22, 23, 24, 25]))):
        got = bank.mined(direction, 1, partner, anchors, partner, anchors)  # type: ignore[arg-type]
        assert got is not None and got.support.near_valid.all()
        for line, own in enumerate(partner.tolist()):
            others = [(cos(anchors[line], v), i) for i, v in zip(ids.tolist(), vectors, strict=True) if i != own]
            assert got.near_id[line].tolist() == [i for _, i in sorted(others, reverse=True)[:3]]


def test_an_empty_bank_gives_nothing() -> None:
    objective, sampler, _ = made(mining={"mode": "bank"})
    objective.begin_epoch(0, sampler.clicks, seed=1)
    batch = sampler.batch(0, 0)
    reps = objective.encode(batch)
    users, vectors = batch.user, reps.queries
    assert reps.mined("uu", 1, (users, vectors), (users, vectors)) is None
    objective.train()(batch)
    assert reps.mined("uu", 1, (users, vectors), (users, vectors)) is not None


def test_evaluation_mode_remembers_nothing() -> None:
    objective, sampler, _ = made(mining={"mode": "bank"})
    objective.eval()(sampler.batch(0, 0))
    assert objective.mining is not None
    assert (objective.mining.user_own_id < 0).all()
