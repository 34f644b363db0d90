"""Mutual information of fields against loops over items and values, and where the answer is known."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.graph.fields import Field
from micgraph.tasks.correlation import mutual_information
from tests.toy import multi

items = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.integers(0, 3), max_size=3), st.lists(st.integers(1, 4), max_size=3)),
    min_size=1,
    max_size=8,
)


def categorical(name: str, codes: list[int]) -> Field:
    return Field(name, "categorical", max(codes) + 1, torch.tensor(codes, dtype=torch.int32))


def numbers(name: str, rows: np.ndarray) -> Field:
    return Field(name, "dense" if rows.shape[1] == 1 else "embedding", rows.shape[1], torch.from_numpy(rows).float())


def oracle(left: list[list[int]], right: list[list[int]]) -> float:
    """An item at random, then one of its values in each field; no value is the value 0."""
    joint: dict[tuple[int, int], float] = defaultdict(float)
    one: dict[int, float] = defaultdict(float)
    other: dict[int, float] = defaultdict(float)
    for a, b in zip(left, right, strict=True):
        for v in a or [0]:
            for w in b or [0]:
                p = 1 / len(left) / len(a or [0]) / len(b or [0])
                joint[v, w] += p
                one[v] += p
                other[w] += p
    return sum(p * math.log(p / (one[v] * other[w])) for (v, w), p in joint.items())


@settings(max_examples=60)
@given(items)
def test_every_two_fields(rows: list[tuple[int, list[int], list[int]]]) -> None:
    lists = [[[code] for code, _, _ in rows], [tags for _, tags, _ in rows], [words for _, _, words in rows]]
    fields = {
        "category": categorical("category", [code for code, _, _ in rows]),
        "tags": multi("tags", lists[1], 4),
        "words": multi("words", lists[2], 5),
    }
    want = [[0.0 if i == j else oracle(lists[i], lists[j]) for j in range(3)] for i in range(3)]
    torch.testing.assert_close(mutual_information(fields), torch.tensor(want), atol=1e-6, rtol=1e-5)


def test_numbers_count_by_tenths() -> None:
    """100 numbers in a random order: their tenths tell a field of ten equal groups everything, its entropy log 10."""
    random = np.random.default_rng(0)
    order = random.permutation(100)
    direction = random.normal(size=5)
    vectors = 3 + order[:, None] * direction + 1e-3 * random.normal(size=(100, 5))
    fields = {
        "group": categorical("group", (order // 10).tolist()),
        "year": numbers("year", (order[:, None] - 50.0) ** 3),
        "embedding": numbers("embedding", vectors),
        "half": categorical("half", (order // 50).tolist()),
        "same": numbers("same", np.ones((100, 1))),
    }
    told = mutual_information(fields)
    assert told[0, 1].item() == pytest.approx(math.log(10), rel=1e-5)
    assert told[0, 2].item() == pytest.approx(math.log(10), rel=1e-5)
    assert told[1, 3].item() == pytest.approx(math.log(2), rel=1e-5)
    assert told[4].abs().max() < 1e-6 and torch.equal(told, told.T) and not told.diagonal().any()


def test_the_id_counts_as_independent() -> None:
    """Its plug-in estimate would be the other field's entropy, whatever that field is."""
    codes = [1, 2, 1, 2, 3, 1]
    told = mutual_information(
        {"item_id": categorical("item_id", [1, 2, 3, 4, 5, 6]), "row": categorical("row", [6, 5, 4, 3, 2, 1])}
        | {"category": categorical("category", codes)}
    )
    entropy = -sum(n / 6 * math.log(n / 6) for n in Counter(codes).values())
    assert not told[0].any() and not told[:, 0].any()
    assert told[1, 2].item() == pytest.approx(entropy, rel=1e-5)
