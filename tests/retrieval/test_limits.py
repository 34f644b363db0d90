"""Allow-lists and deny-lists, for everybody and per user: exactly k rows, and what is wrong is named."""

from __future__ import annotations

import logging

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.knn import Ragged, VectorIndex
from micgraph.retrieval import limits as module
from micgraph.retrieval.limits import joined
from micgraph.retrieval.own_lists import among_own, in_order
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import InputError


def names(numbers):
    return [f"i{i:02}" for i in numbers]


def ragged(rows):
    flat = torch.tensor([i for x in rows for i in x], dtype=torch.int64)
    return Ragged(torch.tensor([0] + [len(x) for x in rows]).cumsum(0), flat)


subset = st.lists(st.integers(0, 24), min_size=9, max_size=25, unique=True)
few = st.lists(st.integers(0, 24), max_size=4, unique=True)


@given(st.integers(0, 3), st.none() | subset | st.lists(subset, min_size=3, max_size=3), st.data())
@settings(max_examples=40)
def test_every_list_has_k_rows_of_what_is_allowed(world, seed, candidates, data):
    exclude = data.draw(st.none() | few | st.lists(few, min_size=3, max_size=3))
    channels = data.draw(st.sampled_from(["all", "u2i", "i2i", "u2u"]))

    def ids(given):
        return given and ([names(x) for x in given] if isinstance(given[0], list) else names(given))

    rec = Recommender(world(seed))
    ask = {"k": 5, "channels": channels, "filter_seen": False}
    frame = rec.recommend(["u01", "u04", "u07"], candidates=ids(candidates), exclude=ids(exclude), **ask)
    for row, user in enumerate(("u01", "u04", "u07")):
        allowed = candidates[row] if candidates and isinstance(candidates[0], list) else candidates or range(25)
        refused = exclude[row] if exclude and isinstance(exclude[0], list) else exclude or []
        mine = frame[frame["user_id"] == user]
        assert mine["rank"].tolist() == [1, 2, 3, 4, 5] and mine["item_id"].is_unique
        assert set(mine["item_id"]) <= set(names(set(allowed) - set(refused)))
        left = sorted(set(allowed) - set(refused))
        alone = rec.recommend([user], candidates=names(left), **ask)  # however it is said
        pd.testing.assert_frame_equal(mine.reset_index(drop=True), alone)


def test_popular_items_fill_up_from_each_users_own_list(world):
    w = world(4, k1=1)
    count = w.graph.popularity().tolist()
    own = [[3, 24, 9, 1, 5, 17], [20, 2, 11, 8, 13]]
    frame = Recommender(w).recommend(histories=[[], []], k=5, channels=["i2i"], candidates=[names(x) for x in own])
    for row in (0, 1):
        assert frame[frame["user_id"] == row]["item_id"].tolist() == names(
            sorted(own[row], key=lambda i: (-count[i], i))[:5]
        )
    assert set(frame["channels"]) == {"popular"} and frame["degraded"].all()


@pytest.mark.parametrize("own", [False, True])
def test_what_users_have_seen_is_not_left_to_them_and_a_warning_tells(world, caplog, own):
    w = world(3)
    seen, others = sorted(set(w.clicks[0]))[:2], [i for i in range(25) if i not in w.clicks[0]][:2]
    assert len(seen) == 2
    allowed = names([*seen, *others])
    ask = {"k": 3, "candidates": [allowed, allowed] if own else allowed}
    with caplog.at_level(logging.WARNING, "micgraph"):
        frame = Recommender(w).recommend(["u00"] if not own else ["u00", "u00"], **ask)
    assert set(frame["item_id"]) == set(names(others)) and frame["degraded"].all()
    users = 2 if own else 1
    assert f"fewer than k=3 items are left for {users} of {users} users (such as 'u00')" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "micgraph"):
        nothing = Recommender(w).recommend(["u00", "u05"], k=1, candidates=[names(seen), names(range(25))])
        whole = Recommender(w).recommend(["u00"], k=4, candidates=allowed, filter_seen=False)
    assert set(nothing["user_id"]) == {"u05"} and set(whole["item_id"]) == set(allowed)
    assert "for 1 of 2 users (such as 'u00')" in caplog.text and len(caplog.records) == 1


@pytest.mark.parametrize("few", [0, 1000])
def test_many_refused_items_are_left_out_by_the_search_itself(world, monkeypatch, few):
    monkeypatch.setattr(module, "FEW", few)
    rec = Recommender(world(2))
    asked = rec.recommend(["u01", "u02"], k=6, exclude=names(range(0, 25, 2)))
    assert len(asked) == 12 and set(asked["item_id"]) <= set(names(range(1, 25, 2)))
    pd.testing.assert_frame_equal(asked, rec.recommend(["u01", "u02"], k=6, candidates=names(range(1, 25, 2))))


def test_the_history_and_the_refused_items_are_left_out_together(world):
    w = world(3)
    frame = Recommender(w).recommend(["u03", "u05"], k=9, exclude=[names([0, 1, 2]), []])
    mine = {user: set(frame[frame["user_id"] == user]["item_id"]) for user in ("u03", "u05")}
    assert not mine["u03"] & set(names([0, 1, 2, *w.clicks[3]])) and not mine["u05"] & set(names(w.clicks[5]))
    assert joined(None, None) is None
    both = joined(ragged([[1, 2], [], [3]]), ragged([[9], [8], []]))
    assert both.indptr.tolist() == [0, 3, 4, 5] and both.items.tolist() == [1, 2, 9, 8, 3]


@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_the_search_in_own_lists(metric):
    g = torch.Generator().manual_seed(0)
    vectors = torch.randint(-2, 3, (12, 3), generator=g).float()
    queries = torch.randint(-2, 3, (3, 2, 3), generator=g).float()
    only, exclude = [[0, 3, 4, 7, 11], [], [2, 5, 6, 8, 9, 10]], [[3], [1], []]
    value, items = among_own(queries, VectorIndex(vectors, metric), 4, ragged(only), ragged(exclude))
    for b in range(3):
        left = torch.tensor([i for i in only[b] if i not in exclude[b]], dtype=torch.int64)
        every = torch.nn.functional.cosine_similarity(queries[b, :, None], vectors, dim=2)
        score = ((queries[b] @ vectors.T) if metric == "ip" else every).amax(0)
        expected = sorted(left.tolist(), key=lambda i: (-round(float(score[i]), 5), i))[:4]
        assert items[b].tolist() == expected + [-1] * (4 - len(expected))
        assert value[b, : len(expected)].tolist() == pytest.approx([float(score[i]) for i in expected], abs=1e-5)
    assert in_order(ragged(only), torch.arange(11, -1, -1))[2].tolist() == [10, 9, 8, 6, 5, 2]


BAD = {
    "lists of another number of users": ({"candidates": [["i01"]]}, "2 lists, got 1 lists"),
    "refused lists of another number": ({"exclude": [["i01"], [], []]}, "2 lists, got 3 lists"),
    "a user without a candidate": ({"candidates": [["i01"], []]}, "none for user 1"),
    "a user with unknown candidates alone": ({"candidates": [["zz"], ["i01"]]}, "none for user 0"),
    "ids and lists mixed": ({"candidates": [["i01"], "i02"]}, "a list of str"),
    "too few candidates of a user": ({"candidates": [["i01", "i02"], ["i03"]], "k": 2}, "from 1 to 1"),
    "candidates that are refused": ({"candidates": ["i01"], "exclude": ["i01"]}, "not excluded"),
    "everything refused": ({"exclude": names(range(25))}, "from 1 to 0"),
    "a k beyond what is left": ({"exclude": names(range(20)), "k": 6}, "from 1 to 5"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lists(world, name):
    ask, message = BAD[name]
    with pytest.raises(InputError, match=message):
        Recommender(world(0)).recommend(["u01", "u02"], **{"k": 1, **ask})


def test_unknown_items_are_counted(world, caplog):
    with caplog.at_level(logging.WARNING, "micgraph"):
        Recommender(world(0)).recommend(["u01", "u02"], k=1, exclude=["zz", "i01"], candidates=[["i02"], ["i03", "y"]])
    assert "exclude: 1 of 2 items" in caplog.text and "candidates: 1 of 3 items" in caplog.text
