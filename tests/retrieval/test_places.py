"""Fusions by place: reciprocal ranks and quotas, against loops over the channels' lists."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.knn import VectorIndex
from micgraph.retrieval.channels import CHANNELS
from micgraph.retrieval.fusion import FusionConfig, fuse
from micgraph.retrieval.pool import Pool, Trigger
from micgraph.retrieval.selection import take_turns

LISTS = {"u2i": [4, 0, 2], "u2u": [2, 5, 4, 1], "i2i": [5, 3]}
"""Items of each channel, the best first: of a user whose cosine with every item is 1."""


def pool():
    items = sorted({item for line in LISTS.values() for item in line})
    place = {c: {item: at for at, item in enumerate(line)} for c, line in LISTS.items()}
    count = torch.tensor([[[int(i in place[c]) for i in items] for c in CHANNELS]])
    weight = torch.tensor([[[9.0 - place[c].get(i, 9) for i in items] for c in CHANNELS]])
    none = torch.zeros(1, len(items))
    rank = torch.tensor([[place["u2i"].get(i, -1) for i in items]])
    return Pool(torch.tensor([items]), none == 0, count, weight, rank, Trigger(none.long(), none.long() - 1, none))


def fused(k=6, **fusion):
    vectors = torch.tensor([[2.0, 0.0]]).expand(6, 2).contiguous()
    return fuse(pool(), vectors[:1], VectorIndex(vectors), torch.zeros(6).long(), k, FusionConfig(**fusion))


@pytest.mark.parametrize("constant", [0.0, 60.0])
@pytest.mark.parametrize("k2", [None, 2])
def test_the_score_is_the_sum_of_reciprocal_ranks(constant, k2):
    kept = {**LISTS, "u2u": LISTS["u2u"][:k2]}
    score = {
        i: sum(1 / (constant + 1 + line.index(i)) for line in kept.values() if i in line)
        for i in range(6)
        if any(i in line for line in kept.values())
    }
    order = sorted(score, key=lambda i: (-round(score[i], 6), i))
    got = fused(fusion="rrf", rrf_constant=constant, k2=k2)
    assert got.items[0].tolist() == order + [-1] * (6 - len(order))
    assert got.score[0].tolist() == pytest.approx([score[i] for i in order] + [-math.inf] * (6 - len(order)))
    for at, item in enumerate(order):
        assert got.place[0, :, at].tolist() == [kept[c].index(item) if item in kept[c] else -1 for c in CHANNELS]


@pytest.mark.parametrize(
    ("quotas", "items"),
    [
        (None, [4, 2, 5, 0, 1, 3]),
        ({"u2i": 2, "u2u": 2, "i2i": 2}, [4, 2, 5, 0, 1, 3]),
        ({"u2u": 1}, [2, 5, 4, 1, 0, 3]),  # then the others in turn
        ({"u2i": 100, "i2i": 50}, [4, 0, 5, 2, 3, 1]),
    ],
)
def test_quotas_are_filled_in_turn(quotas, items):
    got = fused(fusion="quotas", quotas=quotas)
    assert got.items[0].tolist() == items
    assert got.score[0].tolist() == pytest.approx([1 / (at + 1) for at in range(6)])
    assert fused(fusion="quotas", quotas=quotas, k=3).items[0].tolist() == items[:3]


def in_turn(lists, quotas, k):
    """D'Hondt over three lists, in fractions."""
    chosen, taken = [], [0, 0, 0]
    while len(chosen) < k:
        left = [[i for i in line if i not in chosen] for line in lists]
        open_ = [c for c in range(3) if left[c]]
        if not open_:
            break
        some = [c for c in open_ if quotas[c]]
        due = {c: Fraction(taken[c] + 1, quotas[c] if some else 1) for c in some or open_}
        channel = min(due, key=lambda c: (due[c], c))
        chosen.append(left[channel][0])
        taken[channel] += 1
    return chosen


orders = st.lists(st.integers(0, 7), unique=True)


@given(st.lists(st.tuples(orders, orders, orders), min_size=1, max_size=3), st.data(), st.integers(1, 10))
@settings(max_examples=60)
def test_take_turns_is_the_method_of_dhondt(users, data, k):
    quotas = data.draw(st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any))
    place = torch.tensor(
        [[[line.index(i) if i in line else -1 for i in range(8)] for line in lists] for lists in users]
    )
    chosen, score = take_turns(place, quotas, k)
    for b, lists in enumerate(users):
        expected = in_turn(lists, quotas, k)
        assert chosen[b].tolist() == expected + [-1] * (k - len(expected))
        assert score[b, : len(expected)].tolist() == pytest.approx([1 / (at + 1) for at in range(len(expected))])
        assert (score[b, len(expected) :] == -torch.inf).all()
