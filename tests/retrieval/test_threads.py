"""Many threads at once: right answers, of before or after a change and never of a mixture."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.recommender import Recommender
from tests.retrieval.memory_store import MemoryStore

USERS = [f"u{u:02}" for u in range(12)]


@pytest.fixture(autouse=True)
def often():
    """Let threads take turns within statements that would hardly ever be cut in two."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def towers_of(graph, **model):
    torch.manual_seed(0)
    graph.item_vocab["category"] = pa.array(["1", "2", "3", "4"], pa.large_string())
    return TwoTower(ModelConfig(encoder="youtube_dnn", dim=8, **model), graph.item_fields, graph.user_fields)


def served(w, towers, store=None):
    bound = BoundModel(towers, w.graph.item_fields, w.graph.user_fields)
    fusion = FusionConfig(k1=6, m1=3, m2=4, m=3, m3=4)
    return Recommender(
        SimpleNamespace(graph=w.graph, model=bound, fusion=fusion, learned=None), store=store, store_timeout=60
    )


def test_what_is_computed_once_is_so_for_threads_that_come_together(world):
    w = world(3)
    expected = Recommender(w).recommend(USERS, k=5)
    calls, w = w.model.calls, world(3)
    gate = threading.Barrier(8)
    rec = Recommender(w)

    def ask(_):
        gate.wait()
        return rec.recommend(USERS, k=5)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert w.model.calls == calls + 7  # users were encoded once, those who were asked about eight times
    for got in answers:
        pd.testing.assert_frame_equal(got, expected)


def test_nothing_is_dropped_out_while_another_thread_begins_or_ends(world):
    w = world(3)
    towers = towers_of(w.graph, dropout=0.9).train()
    rec = served(w, towers)
    expected = rec.recommend(USERS, k=5)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: rec.recommend(USERS, k=5), range(60)):
            pd.testing.assert_frame_equal(got, expected)
    assert all(part.training for part in towers.modules())


def test_answers_are_of_before_or_after_new_items(world):
    w = world(3)
    towers, store = towers_of(w.graph), MemoryStore()
    steps = [[{"item_id": f"new{step}{n}", "category": str(n + 1)} for n in range(3)] for step in range(4)]
    plain = served(w, towers)
    asked = {"histories": [["i01", *(f"new{step}1" for step in range(4))], ["i03"]], "k": 20, "filter_seen": False}
    states = [plain.recommend(**asked)]
    for step in steps:
        plain.add_items(step)
        states.append(plain.recommend(**asked))
    assert all(not a.equals(b) for a, b in zip(states, states[1:], strict=False))

    rec = served(w, towers, store)
    done = threading.Event()

    def ask(_):
        seen = []
        while not done.is_set() or not seen:
            got = rec.recommend(**asked)
            seen.append(next((n for n, state in enumerate(states) if state.equals(got)), None))
            assert rec.recommend("u01", k=3)["item_id"].notna().all()
        return seen

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, n) for n in range(4)]
        adding = [pool.submit(rec.add_items, step) for step in steps[:1]]
        for step in steps[1:]:
            adding[-1].result()
            adding.append(pool.submit(rec.add_items, step))
        adding[-1].result()
        done.set()
        for answer in answers:
            seen = answer.result()
            assert None not in seen and seen == sorted(seen)
    assert rec.recommend(**asked).equals(states[-1])


def test_items_that_two_threads_add_are_both_there(world):
    w = world(3)
    rec = served(w, towers_of(w.graph))
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: rec.add_items([{"item_id": f"n{n}"}]), range(8))) == [1] * 8
    assert set(rec.items.values.to_pylist()) >= {f"n{n}" for n in range(8)} and len(rec.items) == 33


def test_clicks_observed_beside_recalls_are_all_there(world):
    w, rng = world(3), np.random.default_rng(0)
    store = MemoryStore(size=1_000)
    rec, alone = (Recommender(w, store=s, store_timeout=60) for s in (store, MemoryStore(size=1_000)))
    rec.recommend(USERS, k=5)
    events = [(rng.choice(USERS), f"i{rng.integers(0, 28):02}", float(t)) for t in rng.permutation(400)]

    def work(part):
        for user, item, at in events[part::4]:
            rec.observe(user, item, at)
            if at % 10 == 0:
                assert len(rec.recommend(user, k=2)) <= 2

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    alone.observe(*zip(*events, strict=True))
    assert store.rows == alone.retriever.live.store.rows
    pd.testing.assert_frame_equal(rec.recommend(USERS, k=5), alone.recommend(USERS, k=5))
