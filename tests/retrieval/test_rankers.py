"""Rankers and the learned fusion: what evaluation reads of a model, and what validation data teaches it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from micgraph.evaluation import prepare
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.split import split
from micgraph.knn import Ragged
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.learned import FEATURES
from micgraph.retrieval.rankers import FusedRanker, U2IRanker
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import InputError


def ragged(lists):
    flat = torch.tensor([i for x in lists for i in x], dtype=torch.int64)
    return Ragged(torch.tensor([0] + [len(x) for x in lists]).cumsum(0), flat)


def held_out(histories, users, clicks):
    return SimpleNamespace(histories=ragged(histories), users=users, clicks=clicks)


def encoded(world, history, which):
    vectors = getattr(world.model, which)
    return [sum(float(vectors[i][d]) for i in history[-world.model.history :]) for d in range(4)]


def test_the_learned_fusion_ranks_what_is_clicked_higher(world):
    w = world(9, n_users=60)
    rec = Recommender(w)
    history, users = ragged(w.clicks), torch.full((60,), -1)
    found = U2IRanker(w.model, w.graph).rank(history, users, 1, history)
    learned = rec.fit_fusion(held_out(w.clicks, users, Ragged(torch.arange(61), found[:, 0])))
    assert rec.retriever.config.fusion == "learned"
    top = FusedRanker(rec).rank(history, users, 3, history)
    assert (top == found).any(1).float().mean() > 0.9
    w.learned, w.fusion = learned, replace(w.fusion, fusion="learned")  # as a run keeps them
    assert torch.equal(FusedRanker(Recommender(w)).rank(history, users, 3, history), top)


def test_a_prepared_holdout_fits_the_fusion(tiny_log):
    parts = split(read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users), "leave_last_out")
    graph = build(parts.train)
    features = (graph.item_fields, graph.user_fields)
    torch.manual_seed(0)
    model = BoundModel(TwoTower(ModelConfig(dim=8), *features), *features)
    rec = Recommender(SimpleNamespace(graph=graph, model=model, fusion=FusionConfig(), learned=None))
    learned = rec.fit_fusion(prepare(parts.valid, graph), filter_seen=False)
    assert rec.retriever.learned is learned and len(learned.weight) == len(FEATURES)
    assert rec.recommend(list(graph.users.values[:2].to_pylist()), k=3)["score"].notna().any()


def test_rankers(world):
    w = world(1)
    rec = Recommender(w)
    histories, users = ragged(w.clicks), torch.arange(12)
    fused = FusedRanker(rec, name="all three").rank(histories, users, 5, exclude=histories)
    ids = rec.recommend([f"u{u:02}" for u in range(12)], k=5)["item_id"].tolist()
    assert [f"i{i:02}" for i in fused.reshape(-1).tolist()] == ids
    alone = U2IRanker(w.model, w.graph).rank(histories, users, 25, exclude=histories)
    assert alone.shape == (12, 25) and alone.dtype == torch.int64
    for user, clicks in enumerate(w.clicks):
        score = w.model.search @ torch.tensor(encoded(w, clicks, "search"))
        left = sorted(set(range(25)) - set(clicks), key=lambda i: (-float(score[i]), i))
        assert alone[user].tolist() == left + [-1] * (25 - len(left))
    seen = U2IRanker(w.model, w.graph).rank(histories, users, 25)
    assert torch.equal(seen.sort().values, torch.arange(25).expand(12, 25))
    assert FusedRanker(rec).rank(ragged([]), users[:0], 3).shape == (0, 3)


def test_a_ranker_of_candidates_ranks_nothing_else(world):
    w = world(1)
    histories, users, among = ragged(w.clicks), torch.arange(12), [3, 19, 7, 7, 11]
    top = U2IRanker(w.model, w.graph, candidates=torch.tensor(among)).rank(histories, users, 6, exclude=histories)
    for user, clicks in enumerate(w.clicks):
        score = w.model.search @ torch.tensor(encoded(w, clicks, "search"))
        left = sorted(set(among) - set(clicks), key=lambda i: (-float(score[i]), i))
        assert top[user].tolist() == left + [-1] * (6 - len(left))


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (torch.ones(25, dtype=torch.bool), "candidates.*ids, int64.*bool.*nonzero"),
        (torch.tensor([3, 25]), "candidates.*from 0 to 24, got 3 to 25"),
        (torch.tensor([-1, 3]), "candidates.*from 0 to 24, got -1 to 3"),
    ],
)
def test_candidates_of_a_ranker_are_ids(world, candidates, message):
    w = world(1)
    with pytest.raises(InputError, match=message):
        U2IRanker(w.model, w.graph, candidates=candidates)
