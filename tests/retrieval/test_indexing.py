"""Another kind of index in a recommender: tuned on its users, saved with it, its lists those of exact search."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from micgraph.knn import structure
from micgraph.retrieval.indexing import tune_index
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import ConfigError, InputError, MissingExtraError

faiss = pytest.importorskip("faiss")
USERS = [f"u{u:02}" for u in range(12)]


@pytest.mark.parametrize("kind", ["faiss_flat", "faiss_ivf", "faiss_hnsw", "faiss_int8"])
@pytest.mark.parametrize("interests", [1, 2])
def test_lists_are_those_of_exact_search_also_when_loaded(world, fake_model, tmp_path, monkeypatch, kind, interests):
    w = world(3, interests=interests)
    w.model.search = torch.randn(25, 4, generator=torch.Generator().manual_seed(2))  # no ties: any of them may be kept
    rec, users = Recommender(w), [name for name, clicks in zip(USERS, w.clicks, strict=True) if clicks]
    expected = rec.recommend(users, k=5)
    tuned = tune_index(rec, kind, recall=1.0)
    assert (rec.retriever.config.index, rec.retriever.index.kind, rec.retriever.users.kind) == (kind,) * 3
    table = tuned.table()
    assert set(table["index"].to_pylist()) == {"items", "users"} and sum(table["chosen"].to_pylist()) == 2
    got = rec.recommend(users, k=5)
    pd.testing.assert_frame_equal(got, expected)
    rec.save(tmp_path / "serving")
    if kind != "faiss_flat":
        monkeypatch.setattr(structure, "build", lambda *_: pytest.fail("built again"))
    back = Recommender.load(tmp_path / "serving", load_model=_loader(fake_model, interests))
    assert back.retriever.config == rec.retriever.config
    pd.testing.assert_frame_equal(back.recommend(users, k=5), got)


def _loader(fake_model, interests):
    def load(path, graph):
        model = fake_model.load(path, graph)
        model.interests = interests
        return model

    return load


def test_the_queries_measured_are_the_users_own(world, monkeypatch):
    w = world(4)
    rec, asked = Recommender(w), []
    real = structure.Structure.search

    def watched(self, queries, size):
        asked.append((queries.copy(), size))
        return real(self, queries, size)

    monkeypatch.setattr(structure.Structure, "search", watched)
    tune_index(rec, "faiss_hnsw", recall=0.9, k=7)
    search = torch.stack([w.model.search[c[-4:]].sum(0) if c else torch.zeros(4) for c in w.clicks])
    own = torch.stack([w.model.own[c[-4:]].sum(0) if c else torch.zeros(4) for c in w.clicks])
    assert asked[0][1] == 7 and asked[0][0].tolist() == search.tolist()
    torch.testing.assert_close(torch.from_numpy(asked[-1][0]), torch.nn.functional.normalize(own, dim=1))
    assert asked[-1][1] == w.fusion.m1 + 1, "the user itself is left out"


def test_settings_reach_both_indexes(world):
    rec = Recommender(world(5))
    tune_index(rec, "faiss_ivf", recall=0.9, settings={"nlist": 3})
    assert (rec.retriever.index.cells, rec.retriever.users.cells) == (3, 3)
    again = Recommender(world(5), {"index": "faiss_hnsw", "item_index": {"ef_search": 17}, "user_index": {"hnsw_m": 5}})
    assert again.retriever.index.settings.ef_search == 17
    assert (again.retriever.users.settings.hnsw_m, again.retriever.users.settings.ef_search) == (5, 256)


def test_what_fails_leaves_the_recommender_as_it_is(world, monkeypatch):
    rec = Recommender(world(6))
    before, expected = rec.retriever.config, rec.recommend(USERS, k=5)
    bad = [
        ({"kind": "hnsw"}, ConfigError, "one of torch"),
        ({"kind": "faiss_hnsw", "k": 26}, InputError, "from 1 to 25"),
        ({"kind": "faiss_hnsw", "k": 0}, InputError, "from 1 to 25"),
        ({"kind": "faiss_hnsw", "recall": 0}, ConfigError, "recall"),
        ({"kind": "faiss_hnsw", "settings": {"M": 3}}, ConfigError, "settings.M"),
        ({"kind": "faiss_ivf", "settings": {"nlist": 26}}, ConfigError, "nlist"),
        ({"kind": "faiss_ivf", "settings": {"nlist": 13}}, ConfigError, "nlist"),  # 12 users
        ({"kind": "faiss_pq"}, InputError, "at least 256"),
    ]
    for arguments, error, message in bad:
        with pytest.raises(error, match=message):
            tune_index(rec, **arguments)
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"micgraph\[cpu\]"):
        tune_index(rec, "faiss_hnsw")
    with pytest.raises(MissingExtraError, match=r"fusion.index: .*micgraph\[cpu\]"):
        Recommender(world(6), {"index": "faiss_hnsw"})
    assert rec.retriever.config == before
    pd.testing.assert_frame_equal(rec.recommend(USERS, k=5), expected)
