"""Queries with several interests, from the search to the explained list: an item's score is that of the best one."""

from __future__ import annotations

import importlib.util
import math
from types import SimpleNamespace

import pytest
import torch

from micgraph.knn import Ragged
from micgraph.retrieval.rankers import FusedRanker, U2IRanker
from micgraph.retrieval.recommender import Recommender

INDEXES = ["torch", *(["faiss_flat"] if importlib.util.find_spec("faiss") else [])]


def ragged(lists):
    flat = torch.tensor([i for x in lists for i in x], dtype=torch.int64)
    return Ragged(torch.tensor([0] + [len(x) for x in lists]).cumsum(0), flat)


def interests_of(world, history):
    """The two vectors that the fake model gives."""
    known = [i for i in history[-world.model.history :] if i >= 0]
    one = [sum(float(world.model.search[i][d]) for i in known) for d in range(4)]
    return [one, one[-1:] + one[:-1]]


def score_of(world, history, item, metric):
    vector = world.model.search[item].tolist()

    def one(query):
        dot = sum(a * b for a, b in zip(query, vector, strict=True))
        length = math.sqrt(sum(a * a for a in query)) * math.sqrt(sum(b * b for b in vector))
        return dot if metric == "ip" else dot / length if length else 0.0

    return max(one(query) for query in interests_of(world, history))


@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_the_ranker_gives_each_item_once_by_its_best_interest(world, metric):
    w = world(5, metric=metric, interests=2)
    histories, among, k = w.clicks, [i for i in range(25) if i % 3], 8
    for candidates in (None, torch.tensor(among)):
        ranker = U2IRanker(w.model, w.graph, candidates=candidates)
        found = ranker.rank(ragged(histories), torch.full((12,), -1), k, ragged(histories)).tolist()
        for row, history in zip(found, histories, strict=True):
            allowed = [i for i in (range(25) if candidates is None else among) if i not in history]
            score = {i: score_of(w, history, i, metric) for i in allowed}
            expected = sorted(allowed, key=lambda i: (-round(score[i], 5), i))[:k]
            assert len(set(row)) == k and [round(score[i], 5) for i in row] == [round(score[i], 5) for i in expected]


@pytest.mark.parametrize("index", INDEXES)
@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_every_row_tells_the_best_interests_score_whichever_channel_found_it(world, metric, index):
    w = world(6, metric=metric, interests=2, index=index)
    users = [u for u in range(12) if w.clicks[u]]
    frame = Recommender(w).recommend([f"u{u:02}" for u in users], k=12)
    assert len(frame) == 12 * len(users) and not frame.duplicated(["user_id", "item_id"]).any()
    others = set()
    for row in frame[frame["channels"] != "popular"].to_dict("records"):
        user, item = int(row["user_id"][1:]), int(row["item_id"][1:])
        assert row["u2i_score"] == pytest.approx(score_of(w, w.clicks[user], item, metric), abs=1e-4)
        others.add(row["channels"])
    assert others - {"u2i"}, "some came through other channels alone"


def test_candidates_and_filters_hold_for_every_interest(world):
    w = world(7, interests=2)
    allowed = [f"i{i:02}" for i in range(0, 25, 2)]
    frame = Recommender(w).recommend(["u03", "u08"], k=6, candidates=allowed)
    for user in (3, 8):
        mine = frame[frame["user_id"] == f"u{user:02}"]["item_id"].tolist()
        assert len(mine) == len(set(mine)) == 6 and set(mine) <= set(allowed)
        assert not set(mine) & {f"i{i:02}" for i in w.clicks[user]}


def test_the_learned_fusion_reads_the_best_interests_score(world):
    w = world(9, n_users=60, interests=2)
    rec, history, users = Recommender(w), ragged(w.clicks), torch.full((60,), -1)
    found = U2IRanker(w.model, w.graph).rank(history, users, 1, history)
    clicks = Ragged(torch.arange(61), found[:, 0])
    learned = rec.fit_fusion(SimpleNamespace(histories=history, users=users, clicks=clicks))
    assert learned.weight[0] > 0
    top = FusedRanker(rec).rank(history, users, 3, history)
    assert (top == found).any(1).float().mean() > 0.9
