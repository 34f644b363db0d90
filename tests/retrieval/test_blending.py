"""The compiled loops give what the tensor programs give: the same lists, counts, places and reasons."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.knn import Ragged
from micgraph.retrieval import blending
from micgraph.retrieval.channels import CHANNELS
from micgraph.retrieval.learned import LearnedFusion
from micgraph.retrieval.retriever import Retriever

WHOLE = ("items", "count", "held", "place", "found")
REAL = ("score", "basic", "weight", "base", "share")
LEARNED = LearnedFusion(
    ["u2i_rank", "u2i_score", "i2i_count", "u2u", "similarity", "u2u_weight"],
    *([0.3, -0.1, 1.0, 0.2, 0.4, 2.0], [2.0, 1.5, 0.7, 0.5, 0.3, 1.0], [0.5, 1.0, -0.4, 0.3, 0.7, 0.2]),
)
FUSIONS = [
    {},
    {"basic": "score", "count_scale": "log"},
    {"k2": 2, "k3": 3, "lambda_div": 0.0},
    {"metric": "cosine", "lambda_div": 1.0, "decay": 0.5},
    {"metric": "cosine", "interests": 2},
    {"interests": 2, "k3": 1},
    {"fusion": "learned", "k2": 3},
    {"fusion": "rrf"},
    {"fusion": "rrf", "k2": 2, "k3": 1, "rrf_constant": 0.0},
    {"fusion": "quotas"},
    {"fusion": "quotas", "quotas": {"u2u": 3, "i2i": 1}, "k3": 2},
]

lists = st.lists(st.lists(st.integers(0, 27), max_size=9), min_size=1, max_size=3)


def ragged(rows):
    flat = torch.tensor([i for x in rows for i in x], dtype=torch.int64)
    return Ragged(torch.tensor([0] + [len(x) for x in rows]).cumsum(0), flat)


def made(world, seed, fusion, rough=True):
    """A retriever; ``rough`` vectors have no equal scores, those of the world are whole numbers that have many."""
    w = world(seed, **fusion)
    if rough:
        w.model.search = torch.randn(25, 4, generator=torch.Generator().manual_seed(seed))
    return Retriever(w.model, w.graph, w.fusion, LEARNED)


def both(retriever, queries, k, channels, allowed):
    looped = retriever.fused(queries, k, channels, allowed)
    retriever.__dict__["blender"] = None
    return looped, retriever.fused(queries, k, channels, allowed)


def check(looped, tensors):
    there = tensors.items >= 0
    for name in WHOLE:
        one, other = getattr(looped, name), getattr(tensors, name)
        mask = there[:, None] if one.dim() == 3 else torch.ones_like(one).bool() if name == "found" else there
        assert one.dtype == other.dtype and torch.equal(one * mask, other * mask), name
    assert torch.equal(looped.items, tensors.items)
    for name in REAL:
        one, other = getattr(looped, name), getattr(tensors, name)
        mask = there[:, None].expand_as(one) if one.dim() == 3 else there
        torch.testing.assert_close(one[mask], other[mask], atol=1e-5, rtol=1e-5)
    for one, other in zip(looped.trigger, tensors.trigger, strict=True):
        torch.testing.assert_close(one[there], other[there], atol=0, rtol=0)
    assert (looped.score[~there] == -torch.inf).all()


@given(
    st.integers(0, 3),
    st.sampled_from(FUSIONS),
    lists,
    st.integers(1, 26),
    st.sets(st.sampled_from(CHANNELS), min_size=1),
    st.data(),
)
@settings(max_examples=60)
def test_the_loops_give_what_the_tensors_give(world, seed, fusion, histories, k, channels, data):
    retriever = made(world, seed, fusion)
    rows = [[i if i < 25 else -1 for i in history] for history in histories]
    users = torch.tensor([data.draw(st.integers(-1, 11)) for _ in rows])
    some = st.lists(st.integers(0, 24), min_size=1, max_size=20, unique=True).map(sorted)
    same = st.lists(some, min_size=len(rows), max_size=len(rows)).map(ragged)
    exclude, only = data.draw(st.none() | same), data.draw(st.none() | same)
    allowed = None if only is not None else data.draw(st.none() | some)
    allowed = None if allowed is None else retriever.allow(torch.tensor(allowed))
    queries = next(retriever.encode(ragged(rows), users, exclude=exclude, only=only))
    check(*both(retriever, queries, k, channels, allowed))


@given(st.integers(0, 9), lists, st.sampled_from([0.0, 0.25, 0.2, 1.0]), st.integers(1, 26))
@settings(max_examples=30)
def test_equal_scores_go_to_the_smaller_item(world, seed, histories, lambda_div, k):
    rows = [[i if i < 25 else -1 for i in history] for history in histories]
    fusion = {"basic": "score", "lambda_div": lambda_div, "lambda_mic": 0.0}
    retriever = made(world, seed, fusion, rough=False)
    queries = next(retriever.encode(ragged(rows), torch.full((len(rows),), -1)))
    check(*both(retriever, queries, k, CHANNELS, None))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_and_calls_do_not_mix(world, monkeypatch, threads):
    """Rooms are used again by other users, other sizes and other threads."""
    monkeypatch.setattr(blending, "ROWS", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    retriever = made(world, 1, {})
    clicks = retriever.clicks
    histories = Ragged(clicks.indptr, clicks.col.long())
    for k in (3, 20, 3):
        queries = next(retriever.encode(histories, torch.arange(12), exclude=histories))
        other = made(world, 1, {})
        other.__dict__["blender"] = None
        check(retriever.fused(queries, k, CHANNELS, None), other.fused(queries, k, CHANNELS, None))
