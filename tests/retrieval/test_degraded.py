"""A store that is away, slow or damaged: lists without it, marked, and one warning a minute."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pandas as pd
import pytest

from micgraph.retrieval.recommender import Recommender
from micgraph.retrieval.seldom import Seldom
from micgraph.schema import StoreError, UnknownIdError
from tests.retrieval.memory_store import MemoryStore, unreachable

SLOW = 5.0


def asleep(wake: threading.Event):
    return lambda: wake.wait(SLOW) and None


@pytest.fixture
def wake():
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("how", ["unreachable", "slow", "damaged", "closed"])
def test_channels_answer_without_the_store(world, how, wake, caplog):
    w, store = world(2), MemoryStore()
    rec, plain = Recommender(w, store=store, store_timeout=0.1), Recommender(w)
    everyone = [f"u{u:02}" for u in range(12)]
    rec.observe(everyone, ["i03"] * 12, [1_000] * 12)
    rec.recommend(everyone, k=5)
    store.trouble = {"unreachable": unreachable, "slow": asleep(wake)}.get(how)
    if how == "damaged":
        store.rows = dict.fromkeys(store.rows, b"not a history")
    if how == "closed":
        store.close()
    with caplog.at_level(logging.WARNING):
        begin = time.monotonic()
        got = rec.recommend(everyone, k=5)
        assert time.monotonic() - begin < SLOW / 2
    assert got["degraded"].all() and len(got) == 60
    expected = plain.recommend(everyone, k=5)
    pd.testing.assert_frame_equal(got.drop(columns="degraded"), expected.drop(columns="degraded"))
    for _ in range(3):
        rec.recommend(everyone[:1], k=5)
    told = [r.getMessage() for r in caplog.records if "live clicks could not be read" in r.getMessage()]
    assert len(told) == 1 and "memory" in told[0]


def test_a_store_that_is_back_is_read_again(world):
    w, store = world(2), MemoryStore()
    rec = Recommender(w, store=store, store_timeout=60)
    rec.observe("ann", "i03", 1_000)
    before = rec.recommend(["ann", "u03"], k=5)
    store.trouble, store.reads = unreachable, 0
    assert rec.recommend(["ann", "u03"], k=5)["degraded"].all()  # one of them is known
    assert store.reads == 1  # and not a second time, for similar users
    store.trouble = None
    pd.testing.assert_frame_equal(rec.recommend(["ann", "u03"], k=5), before)


def test_only_similar_users_clicks_are_missing_where_the_second_read_fails(world):
    w, store = world(2), MemoryStore()
    rec = Recommender(w, store=store, store_timeout=60)
    rec.observe([f"u{u:02}" for u in range(12)], ["i03"] * 12, [1_000] * 12)
    store.reads = 0
    store.trouble = lambda: unreachable() if store.reads > 1 else None
    got = rec.recommend("u05", k=5)
    assert got["degraded"].all() and store.reads == 2
    assert "i03" not in set(got["item_id"])  # the live click is still left out
    store.reads = 0
    alone = Recommender(w).recommend(histories=[[f"i{i:02}" for i in w.clicks[5]] + ["i03"]], k=5, channels=["u2i"])
    assert rec.recommend("u05", k=5, channels=["u2i"])["item_id"].tolist() == alone["item_id"].tolist()


def test_where_nothing_is_left_the_error_comes(world):
    rec = Recommender(world(), store=MemoryStore(trouble=unreachable))
    for users in (["ann"], ["ann", "bob"]):
        with pytest.raises(StoreError, match="start it"):
            rec.recommend(users)
    with pytest.raises(UnknownIdError, match="integer"):  # no store can know such a user
        rec.recommend([7])


def test_warnings_come_once_a_minute_and_count_what_was_held_back(caplog):
    now = [0.0]
    seldom = Seldom(logging.getLogger("seldom"), every=60, clock=lambda: now[0])
    told = []
    for at in (0, 1, 59.9, 60, 61, 200):
        now[0] = at
        caplog.clear()
        seldom.warn("away")
        told.append([r.getMessage() for r in caplog.records])
    held = " (2 more such warnings were held back)", " (1 more such warnings were held back)"
    assert told == [["away"], [], [], [f"away{held[0]}"], [], [f"away{held[1]}"]]


def test_asyncio_waits_for_many_at_once_and_survives_those_who_leave(world, wake):
    w, store = world(2), MemoryStore()
    rec = Recommender(w, store=store, store_timeout=60)
    everyone = [f"u{u:02}" for u in range(12)]
    alone = [rec.recommend(user, k=5) for user in everyone]

    async def serve():
        found = await asyncio.gather(*(rec.arecommend(user, k=5) for user in everyone * 4))
        store.trouble = asleep(wake)
        left = asyncio.ensure_future(rec.arecommend("u01", k=5))
        await asyncio.sleep(0.05)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        store.trouble = None
        wake.set()
        return found, await rec.arecommend(histories=[["i01"]], k=3)

    found, last = asyncio.run(serve())
    for got, expected in zip(found, alone * 4, strict=True):
        pd.testing.assert_frame_equal(got, expected)
    pd.testing.assert_frame_equal(last, rec.recommend(histories=[["i01"]], k=3))
    with pytest.raises(UnknownIdError):
        asyncio.run(rec.arecommend("nobody"))
