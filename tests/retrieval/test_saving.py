"""A recommender that was saved: the same lists, without the training code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.knn import Ragged
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import ArtifactError

REPOSITORY = Path(__file__).resolve().parents[2]


def ragged(lists):
    flat = torch.tensor([i for x in lists for i in x], dtype=torch.int64)
    return Ragged(torch.tensor([0] + [len(x) for x in lists]).cumsum(0), flat)


def held_out(histories, users, clicks):
    return SimpleNamespace(histories=ragged(histories), users=users, clicks=clicks)


def test_a_fresh_process_recommends_without_the_training_code(world, tmp_path):
    rec = Recommender(world(8))
    rec.save(tmp_path / "serving")
    code = f"""
import sys, runpy
from micgraph.retrieval.recommender import Recommender
model = runpy.run_path({str(Path(__file__).with_name("conftest.py"))!r})["FakeModel"]
rec = Recommender.load({str(tmp_path / "serving")!r}, load_model=model.load)
print(",".join(rec.recommend(["u02"], k=5)["item_id"]))
assert not [m for m in sys.modules if m in ("micgraph.training", "micgraph.tasks", "micgraph.pipeline", "duckdb")]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=REPOSITORY)
    assert done.stderr == "" and done.stdout.strip().split(",") == rec.recommend(["u02"], k=5)["item_id"].tolist()


@pytest.mark.parametrize("learned", [False, True])
def test_save_and_load_recommend_the_same_and_compute_nothing(world, fake_model, tmp_path, learned):
    w = world(8)
    rec = Recommender(w)
    if learned:
        rec.fit_fusion(held_out(w.clicks, torch.arange(12), ragged([[i, (i + 7) % 25] for i in range(12)])))
    rec.save(tmp_path / "serving")
    back = Recommender.load(tmp_path / "serving", load_model=fake_model.load)
    users = [f"u{u:02}" for u in range(12)]
    pd.testing.assert_frame_equal(back.recommend(users, k=6), rec.recommend(users, k=6))
    assert back.retriever.model.calls == 1
    pd.testing.assert_frame_equal(back.similar_users("u01"), rec.similar_users("u01"))
    stores = next((tmp_path / "serving").rglob("stores.safetensors"))
    stores.write_bytes(stores.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtifactError, match="checksum"):
        Recommender.load(tmp_path / "serving", load_model=fake_model.load)


def test_trained_towers_save_and_load_by_default(tiny_log, tmp_path):
    graph = build(read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users))
    features = (graph.item_fields, graph.user_fields)
    model = BoundModel(TwoTower(ModelConfig(dim=8), *features), *features)
    rec = Recommender(SimpleNamespace(graph=graph, model=model, fusion=FusionConfig(), learned=None))
    rec.save(tmp_path / "serving")
    back = Recommender.load(tmp_path / "serving")
    people = pd.DataFrame({"country": ["fr", "xx"], "age": [30.0, None]})
    for ask in ({"users": ["u1", "u2"]}, {"histories": [["i1", "i5"], []], "fields": people}):
        pd.testing.assert_frame_equal(back.recommend(**ask, k=5), rec.recommend(**ask, k=5))
    with_features = rec.recommend(histories=[["i1"]], fields=people[:1], k=5)
    assert not with_features.equals(rec.recommend(histories=[["i1"]], k=5))


def test_a_model_with_one_space_can_be_saved(world, fake_model, tmp_path):
    w = world(8)
    w.model.own = w.model.search
    w.model.save = lambda path: fake_model(w.model.search, w.model.search.clone()).save(path)
    Recommender(w).save(tmp_path / "serving")
    back = Recommender.load(tmp_path / "serving", load_model=fake_model.load)
    assert torch.equal(back.retriever.items, back.retriever.index.vectors)
