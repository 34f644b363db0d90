"""Times of stages by a clock that the test turns: each part of a request adds to its own stage and to no other."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from micgraph.knn import VectorIndex
from micgraph.retrieval import stages
from micgraph.retrieval.blending import Blender
from micgraph.retrieval.live import LiveHistories
from micgraph.retrieval.recommender import Recommender
from micgraph.retrieval.stages import STAGES, Stage, stage_times
from tests.retrieval.memory_store import MemoryStore, unreachable


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(stages, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def slowed(monkeypatch, clock, owner, name, seconds):
    original = getattr(owner, name)

    def slow(*args, **named):
        clock.seconds += seconds
        return original(*args, **named)

    monkeypatch.setattr(owner, name, slow)


@pytest.fixture
def served(world, monkeypatch, clock):
    """A recommender with live clicks, whose parts take seconds that only their own sums can make."""
    store = MemoryStore()
    rec = Recommender(world(2), store=store)
    everyone = [f"u{u:02}" for u in range(12)]
    rec.observe(everyone, ["i03"] * 12, [1_000] * 12)
    rec.recommend(everyone, k=5)
    slowed(monkeypatch, clock, rec.retriever.model, "encode_queries", 1.0)
    slowed(monkeypatch, clock, VectorIndex, "search", 10.0)
    slowed(monkeypatch, clock, Blender, "blend", 100.0)
    slowed(monkeypatch, clock, LiveHistories, "take", 1_000.0)
    return rec, store


def test_each_stage_has_its_own_time_and_not_that_of_stages_inside_it(served):
    rec, _ = served
    with stage_times() as seconds:
        rec.recommend(["u03", "u04"], k=5)
        once = dict(seconds)
        rec.recommend(["u03"], k=5)
    assert once == {"tower": 1.0, "search": 20.0, "store": 2_000.0, "fusion": 100.0}  # two searches, two reads
    assert seconds == {name: 2 * value for name, value in once.items()}
    rec.recommend(["u03"], k=5)
    assert seconds["tower"] == 2.0, "nothing is added once the block has ended"


def test_a_failed_read_and_missing_channels_are_timed_too(served):
    rec, store = served
    store.trouble = unreachable
    with stage_times() as seconds:
        rec.recommend(["u03"], k=5)
    assert seconds == {"tower": 1.0, "search": 20.0, "store": 1_000.0, "fusion": 100.0}  # not asked a second time
    with stage_times() as seconds:
        Recommender(SimpleNamespace(**vars(rec.retriever), fusion=rec.retriever.config)).recommend(
            ["u03"], k=5, channels="i2i"
        )
    assert seconds == {"tower": 1.0, "search": 0.0, "store": 0.0, "fusion": 100.0}


def test_a_stage_that_raises_is_over(clock):
    with stage_times() as seconds:
        with Stage("fusion"):
            with pytest.raises(ValueError, match="no"), Stage("search"):
                clock.seconds += 1
                raise ValueError("no")
            clock.seconds += 10
        clock.seconds += 100
    assert seconds == {"tower": 0, "search": 1, "store": 0, "fusion": 10}


def test_threads_have_clocks_of_their_own(served):
    rec, _ = served
    found = {}

    def ask(name, times):
        with stage_times() as seconds:
            for _ in range(times):
                rec.recommend(["u03"], k=5)
        found[name] = seconds

    with stage_times() as outside:
        for name, times in (("a", 1), ("b", 3)):
            thread = threading.Thread(target=ask, args=(name, times))
            thread.start()
            thread.join()
    assert (found["a"]["tower"], found["b"]["tower"]) == (1.0, 3.0)
    assert outside == dict.fromkeys(STAGES, 0.0)
