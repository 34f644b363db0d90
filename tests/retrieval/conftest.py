"""A small world for retrieval: a graph made by hand and a model whose vectors are whole numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from micgraph.graph.fields import Field
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation, row_cumsum
from micgraph.ids import IdMap
from micgraph.retrieval.fusion import FusionConfig


class FakeModel:
    """A query's search vector is the sum of its items' vectors, so that every inner product is exact."""

    device = torch.device("cpu")

    def __init__(self, search, own, metric="ip", interests=1, history=4):
        self.search, self.own, self.metric, self.interests, self.history = search, own, metric, interests, history
        self.calls = 0
        self.derived = {}

    def item_vectors(self):
        return self.search, self.own

    def encode_queries(self, items, mask, user, fields=None, gap=None):
        assert items.shape == mask.shape == gap.shape and items.shape[1] <= self.history
        self.calls += 1
        use = (mask & (items >= 0))[:, :, None]
        known = items.clamp(min=0)
        bonus = 0 if fields is None else fields["shift"].values
        search = (self.search[known] * use).sum(1) + bonus
        own = (self.own[known] * use).sum(1)
        if self.interests > 1:
            search = torch.stack([search, search.roll(1, dims=1)], dim=1)
        return search, own

    def save(self, path):
        path.mkdir()
        save_file({"search": self.search, "own": self.own}, path / "model.safetensors")

    @classmethod
    def load(cls, path, graph):
        assert graph.n_items
        return cls(**load_file(path / "model.safetensors"))


def relation(rows, n_cols, timed=False, weights=None, scores=None):
    indptr = torch.tensor([0] + [len(r) for r in rows]).cumsum(0)
    col = torch.tensor([c for r in rows for c in r], dtype=torch.int32)
    time = torch.tensor([t for r in rows for t in range(len(r))], dtype=torch.int32) if timed else None
    cum = None if weights is None else row_cumsum(indptr, torch.tensor([w for r in weights for w in r]))
    score = None if scores is None else torch.tensor([s for r in scores for s in r], dtype=torch.float16)
    return Relation(indptr, col, n_cols, time, cum, score)


def identity(name, n):
    return Field(name, "categorical", n + 1, torch.arange(1, n + 1, dtype=torch.int32))


def make_world(seed=0, n_users=12, n_items=25, metric="ip", interests=1, history=4, integer_ids=False, **fusion):
    g = torch.Generator().manual_seed(seed)

    def integers(high, *shape):
        return torch.randint(0, high, shape, generator=g)

    clicks = [integers(n_items, int(integers(9, 1))).tolist() for _ in range(n_users)]
    pairs = [sorted(set(integers(n_items, 6).tolist()) - {i}) for i in range(n_items)]
    counts = [integers(5, len(p)).add(1).tolist() for p in pairs]
    scores = [(integers(9, len(p)) / 8).tolist() for p in pairs]
    category = Field("category", "categorical", 5, integers(5, n_items).to(torch.int32))
    graph = RecGraph(
        relations={
            "clicks": relation(clicks, n_items, timed=True),
            "co_occurs": relation(pairs, n_items, weights=counts),
            "similar": relation(pairs, n_items, scores=scores),
        },
        item_fields={"item_id": identity("item_id", n_items), "category": category},
        user_fields={"user_id": identity("user_id", n_users)},
        users=IdMap(pa.array([f"u{i:02}" for i in range(n_users)])),
        items=IdMap(
            pa.array(list(range(1000, 1000 + n_items)) if integer_ids else [f"i{i:02}" for i in range(n_items)])
        ),
    )
    search, own = integers(7, n_items, 4).float() - 3, torch.randn(n_items, 4, generator=g)
    model = FakeModel(search, own, metric=metric, interests=interests, history=history)
    config = FusionConfig(**{"k1": 6, "m1": 3, "m2": 4, "m": 3, "m3": 4, **fusion})
    return SimpleNamespace(
        graph=graph, model=model, fusion=config, learned=None, clicks=clicks, pairs=pairs, counts=counts, scores=scores
    )


@pytest.fixture(scope="session")
def world():
    return make_world


@pytest.fixture(scope="session")
def fake_model():
    return FakeModel
