"""Another fusion on the same stores: nothing is computed again, and lists are those of a recommender made with it."""

from __future__ import annotations

import pandas as pd
import pytest

from micgraph.retrieval.fusion import FusionConfig, turns
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import ConfigError

USERS = [f"u{u:02}" for u in range(12)]
OTHERS = [{"lambda_mic": 3.0}, {"fusion": "rrf"}, {"fusion": "quotas", "quotas": {"i2i": 2, "u2u": 1}}, {"m3": 2}]


@pytest.mark.parametrize("fusion", [*OTHERS, {"neighbors": "co_occurs"}, {"m1": 1, "k1": 2}])
@pytest.mark.parametrize("loaded", [False, True])
def test_another_fusion_on_the_same_stores(world, fake_model, tmp_path, fusion, loaded):
    rec = Recommender(world(2))
    if loaded:
        rec.save(tmp_path / "serving")
        rec = Recommender.load(tmp_path / "serving", load_model=fake_model.load)
    before = rec.recommend(USERS, k=6)
    calls = rec.retriever.model.calls
    other = rec.with_fusion(fusion)
    made = other.recommend(USERS, k=6)
    assert rec.retriever.model.calls == calls + 1 and other.retriever.users is rec.retriever.users
    pd.testing.assert_frame_equal(made, Recommender(world(2), fusion).recommend(USERS, k=6))
    pd.testing.assert_frame_equal(rec.recommend(USERS, k=6), before)


@pytest.mark.parametrize("fusion", [{"index": "faiss_flat"}, {"item_index": {"nlist": 2, "nprobe": 1}}])
def test_another_index(world, fake_model, tmp_path, fusion):
    """Also of a recommender that was saved with the structure of its own."""
    pytest.importorskip("faiss", reason="the cpu extra is not installed")
    rec = Recommender(world(2), {"index": "faiss_ivf", "item_index": {"nlist": 4, "nprobe": 4}})
    rec.save(tmp_path / "serving")
    rec = Recommender.load(tmp_path / "serving", load_model=fake_model.load)
    other = rec.with_fusion(fusion).retriever
    assert (other.index.kind, other.index.settings) == (other.config.index, other.config.item_index)
    assert (rec.retriever.index.kind, rec.retriever.index.settings.nlist) == ("faiss_ivf", 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"quotas": {"u2i": 0}},
        {"quotas": {"u2i": -1, "i2i": 3}},
        {"quotas": {"u2i": 1.5}},
        {"quotas": {"popular": 3}},
        {"quotas": {}},
        {"rrf_constant": -1.0},
        {"fusion": "rank"},
    ],
)
def test_bad_settings(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FusionConfig(**wrong)
    assert turns({"i2i": 3}) == [0.0, 0.0, 3.0] and turns(None) == [1.0, 1.0, 1.0]
