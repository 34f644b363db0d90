"""Baselines against loops written from their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph import baselines
from micgraph.baselines import EASE, ItemKNN, Popularity
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.knn import Ragged
from micgraph.retrieval import autoencoder
from micgraph.schema import ConfigError, InputError


def ragged(rows):
    lengths = torch.tensor([0] + [len(r) for r in rows])
    return Ragged(lengths.cumsum(0), torch.tensor([i for r in rows for i in r], dtype=torch.int64))


def graph_of(rows, n_items, times=None):
    """A graph of one list of items a user; the clicks of a user are one second apart unless times are given."""
    flat = ragged(rows)
    times = times or [list(range(len(r))) for r in rows]
    clicks = Relation(
        flat.indptr,
        flat.items.to(torch.int32),
        n_items,
        time=torch.tensor([t for r in times for t in r], dtype=torch.int32),
    )
    return RecGraph(relations={"clicks": clicks}, item_fields={}, user_fields={})


def best(scores, popularity, k, banned):
    """The k best items of a list of scores, ties by popularity, then index; -1 for the rest."""
    order = sorted((i for i in range(len(scores)) if i not in banned), key=lambda i: (-scores[i], -popularity[i], i))
    return (order + [-1] * k)[:k]


def popularity_of(rows, n_items):
    return [sum(row.count(i) for row in rows) for i in range(n_items)]


UNKNOWN = torch.tensor([-1])
logs = st.lists(st.lists(st.integers(0, 7), max_size=6), min_size=1, max_size=8)


@settings(deadline=None)
@given(rows=logs, banned=st.sets(st.integers(0, 7)), k=st.integers(1, 10))
def test_popularity_counts_clicks(rows, banned, k):
    ranker = Popularity().fit(graph_of(rows, 8))
    got = ranker.rank(ragged([[0]]), UNKNOWN, k, ragged([sorted(banned)]))
    assert got.tolist() == [best(popularity_of(rows, 8), [0] * 8, k, banned)]


def test_popularity_window_reaches_back_from_the_last_click():
    hour = 3600
    graph = graph_of([[0, 0, 0, 1], [2, 3]], 5, [[0, 1, 2, 10 * hour], [3 * hour, 5 * hour]])
    assert Popularity().fit(graph).rank(ragged([[]]), UNKNOWN, 5).tolist() == [[0, 1, 2, 3, 4]]
    recent = Popularity("6h").fit(graph)
    assert recent.rank(ragged([[]]), UNKNOWN, 5).tolist() == [[1, 3, 0, 2, 4]]  # then by all clicks, then by index
    assert (Popularity().name, recent.name) == ("popularity", "popularity 6h")
    with pytest.raises(InputError, match="window"):
        Popularity("soon")


@settings(deadline=None)
@given(
    rows=logs, history=st.lists(st.integers(0, 7), max_size=5), k=st.integers(1, 4), banned=st.sets(st.integers(0, 7))
)
def test_itemknn_sums_the_cosines_of_the_neighbours_kept(rows, history, k, banned):
    fans = [{u for u, row in enumerate(rows) if i in row} for i in range(8)]

    def cosine(i, j):
        common = np.float32(len(fans[i] & fans[j]))
        return common / np.sqrt(np.float32(len(fans[i])) * np.float32(len(fans[j]))) if common else np.float32(0)

    scores = [np.float32(0)] * 8
    for i in sorted(set(history)):
        near = sorted((j for j in range(8) if j != i and cosine(i, j) > 0), key=lambda j: (-cosine(i, j), j))
        for j in near[:k]:
            scores[j] += cosine(i, j)
    got = ItemKNN(k).fit(graph_of(rows, 8)).rank(ragged([history]), UNKNOWN, 8, ragged([sorted(banned)]))
    assert got.tolist() == [best(scores, popularity_of(rows, 8), 8, banned)]


@pytest.mark.parametrize("n_users", [60, 12, 9])
def test_ease_is_the_constrained_ridge_regression(n_users):
    """Also where there are fewer users than items, and P comes from the users' side."""
    rng = np.random.default_rng(0)
    x = (rng.random((n_users, 12)) < 0.3).astype(float)
    l2 = 7.0
    weights = np.zeros((12, 12))
    for j in range(12):  # each column on its own: ridge of item j on all other items
        others = [i for i in range(12) if i != j]
        a = x[:, others]
        weights[others, j] = np.linalg.solve(a.T @ a + l2 * np.eye(11), a.T @ x[:, j])
    ease = EASE(l2).fit(graph_of([np.flatnonzero(row).tolist() for row in x], 12))
    histories = [[0, 3, 3, 5], [11], [2, 4, 6, 8]]
    got = ease.rank(ragged(histories), torch.full((3,), -1), 12)
    for line, history in zip(got.tolist(), histories, strict=True):
        scores = weights[sorted(set(history))].sum(0)
        np.testing.assert_allclose(scores[line], np.sort(scores)[::-1], atol=1e-5)
        assert sorted(line) == list(range(12))


@pytest.mark.parametrize("ranker", [Popularity(), ItemKNN(), EASE(1.0)], ids=lambda r: r.name)
def test_every_baseline_keeps_the_contract_of_rankers(ranker, monkeypatch):
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, 30, rng.integers(1, 9)).tolist() for _ in range(50)]
    graph = graph_of(rows, 30)
    ranker.fit(graph)
    histories = ragged([*rows[:6], [], [-1, 4]])
    users = torch.tensor([0, 1, 2, 3, 4, 5, -1, -1])
    top = ranker.rank(histories, users, 40, histories)
    assert top.shape == (8, 40) and top.dtype == torch.int64
    for line, seen in zip(top.tolist(), [*rows[:6], [], [4]], strict=True):
        listed = [i for i in line if i >= 0]
        assert sorted(listed) == sorted(set(range(30)) - set(seen))  # nothing seen, nothing twice, nothing missing
        assert line[len(listed) :] == [-1] * (40 - len(listed))
    assert top[6, :30].tolist() == best(popularity_of(rows, 30), [0] * 30, 30, set())  # knows nothing: popularity
    monkeypatch.setattr(baselines, "PRODUCTS", 70)  # a few users at a time
    assert ranker.rank(histories, users, 40, histories).equal(top)
    assert ranker.rank(histories.rows(3, 5), users[3:5], 40, histories.rows(3, 5)).equal(top[3:5])


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([-2.0, -0.0, 0.0, 1e-30, 0.5, 3.0, -torch.inf]), min_size=6, max_size=6), min_size=1
    )
)
def test_first_breaks_ties_by_column(rows):
    want = []
    for row in rows:
        order = sorted((i for i in range(6) if row[i] > -torch.inf), key=lambda i: (-row[i], i))
        want.append((order + [-1] * 6)[:4])
    assert baselines._first(torch.tensor(rows), 4).tolist() == want


def test_ease_refuses_a_matrix_that_would_not_fit(monkeypatch):
    monkeypatch.setattr(autoencoder, "MAX_SIDE", 2)
    need = "at most 2 items or users for EASE, got 20,001 items and 3 users: .* itemknn"
    with pytest.raises(InputError, match=need):
        EASE().fit(graph_of([[0], [1], [2]], 20_001))
    EASE().fit(graph_of([[0], [1]], 20_001))  # two users' matrix is small
    monkeypatch.setattr(autoencoder, "MAX_CELLS", 2 * 20_001 - 1)
    with pytest.raises(InputError, match="at most 40,001 users x items for EASE, got 2 users x 20,001 items.* itemknn"):
        EASE().fit(graph_of([[0], [1]], 20_001))


@pytest.mark.parametrize("make", [lambda: EASE(0), lambda: ItemKNN(0)])
def test_settings_out_of_range_are_named(make):
    with pytest.raises(ConfigError):
        make()
