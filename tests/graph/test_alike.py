"""Equal items in groups: neighbours of groups spread over items, against loops over pairs of items."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.graph import alike
from micgraph.graph.alike import Groups
from micgraph.graph.fields import Field
from micgraph.graph.semantic import by_tags, by_title, by_vectors
from micgraph.graph.vector_search import Findings

Found = dict[tuple[int, int], float]


def as_dict(edges: Any) -> Found:
    pairs = list(zip(edges[0].tolist(), edges[1].tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    return dict(zip(pairs, edges[2].tolist(), strict=True))


def oracle(scores: np.ndarray, k: int) -> Found:
    """The k largest scores above -1 of each row without itself, ties to the next id, cyclically."""
    n, found = len(scores), {}
    for i in range(n):
        order = sorted(
            (j for j in range(n) if j != i and scores[i, j] > -1), key=lambda j: (-scores[i, j], (j - i) % n)
        )
        found |= {(i, j): float(scores[i, j]) for j in order[:k]}
    return found


def test_groups_are_numbered_by_their_first_items() -> None:
    groups = Groups.by_content([b"x", b"y", b"x", b"z", b"y", b"x"])
    assert groups.of.tolist() == [0, 1, 0, 2, 1, 0] and groups.size.tolist() == [3, 2, 1]
    assert groups.members.tolist() == [0, 2, 5, 1, 4, 3] and groups.first.tolist() == [0, 1, 3]


labels = st.lists(st.integers(0, 4), min_size=1, max_size=14)


@settings(max_examples=150)
@given(labels, st.integers(1, 6), st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1 << 22]))
def test_spread_equals_search_among_all_items(of: list[int], k: int, seed: int, edges: int) -> None:
    """Few values, hence ties within groups and between them; parts of a few edges and all at once."""
    groups = Groups.by_content([bytes([label]) for label in of])
    n = len(groups.size)
    value = np.random.default_rng(seed).choice([-1.0, 0.2, 0.5, 1.0], (n, n)).astype(np.float32)
    value[np.arange(n), np.arange(n)] = 1.0
    row, col = np.nonzero(value > -1)
    old, alike.EDGES = alike.EDGES, edges
    try:
        found = as_dict(groups.spread(row, col, value[row, col], k))
    finally:
        alike.EDGES = old
    assert found == oracle(value[groups.of][:, groups.of], k)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from([(1, 0), (0, 1), (1, 1), (2, 0), (0, 0), (-1, 0)]), min_size=1, max_size=12),
    st.integers(1, 5),
)
def test_vectors_that_repeat_go_round(rows: list[tuple[int, int]], k: int) -> None:
    """Directions that are equal are neighbours in cyclic order; no two different ones here are equally near and cut."""
    unit = np.array([np.array(r) / (np.hypot(*r) or 1) for r in rows])
    scores = unit @ unit.T
    known = np.array([any(r) for r in rows])
    scores[~known] = scores[:, ~known] = -2
    scores[(scores < -0.5) & (scores > -1.5)] = -0.99
    found = as_dict(by_vectors(torch.tensor(rows, dtype=torch.float32), k))
    for i in range(len(rows)):
        near = {j: s for (a, j), s in found.items() if a == i}
        others = [j for j in range(len(rows)) if j != i and known[i] and known[j]]
        assert len(near) == min(k, len(others))
        same = sorted((j for j in others if scores[i, j] > 0.999), key=lambda j: (j - i) % len(rows))
        assert set(same[:k]) <= set(near)
        assert sorted(near.values()) == pytest.approx(
            sorted((unit[i] @ unit[j] for j in others), reverse=True)[: len(near)][::-1], abs=1e-5
        )


def test_many_repeats_are_neighbours_equally_often_and_take_no_square_of_time() -> None:
    """20,000 times one vector and one set of tags: pairs of them would be 400 million."""
    n, k = 20_000, 5
    codes = torch.tensor([1, 2] * n + [1], dtype=torch.int32)
    tags = Field("tags", "multi", 3, codes, torch.cat([torch.arange(n + 1) * 2, torch.tensor([2 * n + 1])]))
    begun = time.process_time()
    found = [by_vectors(torch.cat([torch.ones(n, 8), torch.eye(8)]), k), by_tags(tags, k)]
    assert time.process_time() - begun < 8
    for row, col, value in found:
        repeats = row < n
        steps = (col[repeats] - row[repeats]) % n
        assert (value[repeats] == 1).all() and col[repeats].max() < n
        assert np.bincount(steps).tolist() == [0, n, n, n, n, n]
        assert (np.bincount(row) == k).all()


def test_titles_that_repeat_are_encoded_once_and_go_round() -> None:
    asked: list[list[str]] = []

    def encode(texts: list[str]) -> np.ndarray:
        asked.append(texts)
        return np.array([[len(t), 1.0] for t in texts])

    findings = Findings()
    edges = by_title(["unknown", None, "unknown", "other film", " unknown ", ""], encode, 1, findings=findings)
    assert asked == [["unknown", "other film"]]
    assert set(as_dict(edges)) == {(0, 2), (2, 4), (4, 0), (3, 4)}
    assert findings.notes == {"item without a title: no similar items by it": 2}
    assert as_dict(by_title([None, " "], encode, 1)) == {} and len(asked) == 1


def test_titles_that_too_many_items_have_are_counted() -> None:
    """tf-idf passes over their words, so that 5,000 of them cost nothing."""
    findings, titles = Findings(), ["unknown"] * 5_000 + ["red tea", "tea", "!", " ", None]
    begun = time.process_time()
    assert set(as_dict(by_title(titles, "tfidf", 5, findings=findings))) == {(5_000, 5_001), (5_001, 5_000)}
    assert time.process_time() - begun < 5
    assert findings.notes == {
        "item without a title: no similar items by it": 2,
        "item whose title has no word that at most 1,000 titles have: no similar items by it": 5_001,
    }


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf"), -float("inf")])
def test_vectors_that_say_nothing_have_no_edges_and_are_counted(bad: float) -> None:
    findings = Findings()
    vectors = torch.tensor([[1.0, 0.2], [bad, 0.0], [1.0, 0.1], [bad, 0.0]])
    assert set(as_dict(by_vectors(vectors, 3, findings=findings))) == {(0, 2), (2, 0)}
    assert list(findings.notes.values()) == [2] and "zeros, nan or inf" in next(iter(findings.notes))
    assert as_dict(by_vectors(vectors[1:2], 3)) == {}
