"""Recalls over real stores: what one process observes another recommends by, and a server that is killed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from micgraph.retrieval.recommender import Recommender
from micgraph.schema import StoreError
from micgraph.stores.redis_store import RedisStore
from tests.redis_server import REDIS, RedisServer
from tests.retrieval.conftest import make_world
from tests.retrieval.memory_store import MemoryStore
from tests.stores.conftest import Opener

USERS = [f"u{user:02}" for user in range(12)]


def test_recalls_are_those_of_a_store_in_memory(open_store: Opener) -> None:
    world, times = make_world(2), pd.date_range("2024-03-01", periods=13, freq="1min")
    rec, plain = (Recommender(world, store=store, store_timeout=60) for store in (open_store(), MemoryStore()))
    people, items = [*USERS, "ann"], [f"i{place:02}" for place in range(13)]
    for one in (rec, plain):
        one.observe(people[::-1], items, times[::-1])
        one.observe(people[::-1], items, times[::-1])
    pd.testing.assert_frame_equal(rec.recommend(people, k=5), plain.recommend(people, k=5))
    assert not rec.recommend(people, k=5).equals(Recommender(world).recommend(USERS, k=5))


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
def test_lists_go_on_while_the_server_is_away(tmp_path: Path) -> None:
    pytest.importorskip("redis", reason="the serve extra is not installed")
    world, server = make_world(2), RedisServer(tmp_path, "--appendonly", "no")
    try:
        with RedisStore(server.url, timeout=30) as store:
            rec = Recommender(world, store=store, store_timeout=60)
            rec.observe(USERS, ["i03"] * 12, range(1_000, 1_012))
            assert rec.recommend(USERS, k=5)["u2u_count"].sum() > 0
            server.kill()
            got, plain = rec.recommend(USERS, k=5), Recommender(world).recommend(USERS, k=5)
            assert got["degraded"].all() and got["item_id"].tolist() == plain["item_id"].tolist()
            with pytest.raises(StoreError):
                rec.observe("u01", "i04", 2_000)
    finally:
        server.kill()
