"""What is computed once: shared by batches and recommenders, dropped with the weights, and searched by FAISS."""

from __future__ import annotations

import sys
from collections import Counter
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.knn import Subset, VectorIndex
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import MissingExtraError


@pytest.mark.parametrize("candidates", [None, ["i03", "i07", "i11", "i19"]])
def test_nothing_is_prepared_again_for_each_batch(world, monkeypatch, candidates):
    w, counts = world(1), Counter()
    rec = Recommender(w)
    rec.recommend(["u01"], k=2)  # makes the stores

    def counted(module, name):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **kwargs: counts.update([name]) or real(*args, **kwargs))

    counted(Subset, "of")
    counted(VectorIndex, "__init__")
    monkeypatch.setattr("micgraph.retrieval.retriever.BATCH", 1)
    rec.recommend([f"u{u:02}" for u in range(12)], k=2, candidates=candidates)
    assert counts == ({} if candidates is None else {"of": 1})


def test_a_second_recommender_computes_nothing_until_the_weights_change(world):
    w = world(3)
    users = [f"u{u:02}" for u in range(12)]
    first = Recommender(w)
    whole = first.recommend(users, k=5)
    calls = w.model.calls
    again = Recommender(w)
    pd.testing.assert_frame_equal(again.recommend(users, k=5), whole)
    assert w.model.calls == calls + 1 and again.retriever.table is first.retriever.table
    assert Recommender(w, {"m3": 2}).retriever.table.col.shape == (25, 2)
    other = world(3, n_users=9).graph  # another graph of the same items
    assert len(Recommender(SimpleNamespace(**{**vars(w), "graph": other})).retriever.users) == 9
    w.model.own = -w.model.own.flip(1)
    w.model.derived.clear()
    fresh = world(3)
    fresh.model.own = w.model.own
    pd.testing.assert_frame_equal(Recommender(w).recommend(users, k=5), Recommender(fresh).recommend(users, k=5))


def test_refresh_forgets_the_stores(tiny_log):
    graph = build(read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users))
    features = (graph.item_fields, graph.user_fields)
    model = BoundModel(TwoTower(ModelConfig(dim=8), *features), *features)
    run = SimpleNamespace(graph=graph, model=model, fusion=FusionConfig(), learned=None)
    before = Recommender(run).retriever.tensors()
    with torch.no_grad():
        for weights in model.towers.parameters():
            weights += torch.randn_like(weights)
    model.refresh()
    after = Recommender(run).retriever.tensors()
    for name in ("search", "items", "users"):
        assert not torch.allclose(before[name], after[name])


def random_world(world):
    """Without equal scores, of which FAISS keeps any."""
    w = world(5, n_users=40)
    w.model.search = torch.randn(25, 4, generator=torch.Generator().manual_seed(1))
    return w


def test_faiss_gives_what_torch_gives(world, fake_model, tmp_path):
    pytest.importorskip("faiss")
    users = [f"u{u:02}" for u in range(40)]
    torch_rec = Recommender(random_world(world))
    rec = Recommender(random_world(world), {"index": "faiss_flat"})
    for ask in ({}, {"channels": ["u2u"]}, {"filter_seen": False}, {"candidates": ["i03", "i07", "i11", "i19", "i20"]}):
        pd.testing.assert_frame_equal(rec.recommend(users, k=5, **ask), torch_rec.recommend(users, k=5, **ask))
    assert (rec.retriever.index.kind, rec.retriever.users.kind) == ("faiss_flat", "faiss_flat")
    rec.save(tmp_path / "serving")
    back = Recommender.load(tmp_path / "serving", load_model=fake_model.load)
    pd.testing.assert_frame_equal(back.recommend(users, k=5), rec.recommend(users, k=5))
    assert (back.retriever.index.kind, back.retriever.users.kind) == ("faiss_flat", "faiss_flat")


def test_without_faiss_the_recommender_is_not_made(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"fusion.index.*pip install 'micgraph\[cpu\]'"):
        Recommender(world(0), {"index": "faiss_flat"})
    assert len(Recommender(world(0)).recommend(["u01"], k=3)) == 3
