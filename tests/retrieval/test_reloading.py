"""Another version in place of the one that is served: at once, with its store and the items that were added."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from micgraph.ids import IdMap
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import ArtifactError, InputError
from tests.retrieval.memory_store import MemoryStore
from tests.retrieval.test_threads import USERS, served, towers_of


@pytest.fixture
def often():
    """Let threads take turns within statements that would hardly ever be cut in two."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def other_items(world, seed, letter):
    """A world of the same users whose items have ids of another letter."""
    w = world(seed)
    w.graph.items = IdMap(pa.array([f"{letter}{i:02}" for i in range(25)]))
    return w


@pytest.mark.usefixtures("often")
def test_every_answer_is_of_one_version(world):
    """Two versions without any item in common, in turns, while threads ask and others observe nothing new."""
    worlds = [other_items(world, seed, letter) for seed, letter in ((3, "a"), (5, "b"))]
    store = MemoryStore()
    events = (["u01", "u02", "new"] * 2, ["a03", "a09", "a04", "b03", "b07", "b01"], [5.0, 6.0, 7.0, 8.0, 9.0, 10.0])
    people, asked = [*USERS, "new"], {"k": 5, "filter_seen": False}
    versions = [Recommender(w, store=store, store_timeout=60) for w in worlds]
    versions[0].observe(*events)
    lists = [version.recommend(people, **asked) for version in versions]
    near = [version.similar_users(USERS[:4], 3) for version in versions]
    assert not set(lists[0]["item_id"]) & set(lists[1]["item_id"]) and not near[0].equals(near[1])

    rec, done = Recommender(worlds[0], store=store, store_timeout=60), threading.Event()

    def ask(n):
        seen = set()
        while not done.is_set() or len(seen) < 2:
            got = rec.similar_users(USERS[:4], 3) if n == 0 else rec.recommend(people, **asked)
            which = [found.equals(got) for found in (near if n == 0 else lists)]
            assert which.count(True) == 1, got
            seen.add(which.index(True))
            rec.observe(*events)
        return seen

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, n) for n in range(3)]
        turns = 0
        while turns < 15 or not all(one.done() for one in asking):
            turns += 1
            rec.reload(versions[turns % 2])
            if turns == 15:
                done.set()
        assert [one.result() for one in asking] == [{0, 1}] * 3
    rec.reload(versions[1])
    assert rec.recommend(people, **asked).equals(lists[1])
    assert versions[0].recommend(people, **asked).equals(lists[0])  # what was given stays as it is


def test_a_request_that_has_begun_ends_with_the_old_version(world):
    """Its store answers late: meanwhile the version changes."""
    old, new = (other_items(world, seed, letter) for seed, letter in ((3, "a"), (5, "b")))
    began, go = threading.Event(), threading.Event()
    store = MemoryStore(trouble=lambda: (began.set(), go.wait(60)))
    rec = Recommender(old, store=store, store_timeout=60)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(rec.recommend, USERS, k=5)
        assert began.wait(60)
        rec.reload(Recommender(new))
        go.set()
        got = asked.result()
    pd.testing.assert_frame_equal(got, Recommender(old, store=MemoryStore()).recommend(USERS, k=5))
    pd.testing.assert_frame_equal(
        rec.recommend(USERS, k=5), Recommender(new, store=MemoryStore()).recommend(USERS, k=5)
    )


def test_a_saved_version_is_read_and_its_settings_are_used(world, fake_model, tmp_path):
    old, new = world(3), world(5, fusion="rrf")
    Recommender(new).save(tmp_path / "new")
    rec = Recommender(old)
    rec.reload(tmp_path / "new", fake_model.load)
    pd.testing.assert_frame_equal(rec.recommend(USERS, k=5), Recommender(new).recommend(USERS, k=5))
    assert rec.retriever.config.fusion == "rrf" and rec.retriever.live is None
    made = {"index", "items", "users", "table", "blender"}
    assert made <= set(rec.retriever.__dict__)  # no request has to wait for them


def test_added_items_that_the_new_version_lacks_are_added_to_it(world):
    old, new = world(3), world(5)
    rec, store = served(old, towers_of(old.graph), MemoryStore()), None
    names = new.graph.items.values.to_pylist()
    new.graph.items = IdMap(pa.array([*names[:-1], "fresh"]))  # one of the added items has become one of the graph
    rec.add_items([{"item_id": "fresh", "category": "2"}, {"item_id": "zz", "category": "3"}])
    rec.add_items([{"item_id": "later", "category": "1"}])
    rec.observe("u01", "zz", 50.0)
    then = served(new, towers_of(new.graph), store)
    expected = served(new, towers_of(new.graph), MemoryStore())
    expected.add_items([{"item_id": "zz"}, {"item_id": "later"}])
    expected.observe("u01", "zz", 50.0)
    rec.reload(then)
    assert rec.items.values.to_pylist() == [*names[:-1], "fresh", "later", "zz"] and rec.retriever.added == 2
    assert len(then.items) == 25  # the other recommender stays as it is
    pd.testing.assert_frame_equal(rec.recommend(USERS, k=20), expected.recommend(USERS, k=20))
    rec.reload(then)
    assert rec.retriever.added == 2 and len(rec.items) == 27


def test_what_cannot_be_served_leaves_the_old_version(world, tmp_path):
    w, integers = world(3), world(5, integer_ids=True)
    rec = Recommender(w, store=MemoryStore())
    before, rows = rec.retriever, rec.recommend(USERS, k=5)
    timeless = world(5)
    timeless.graph.relations["clicks"] = replace(timeless.graph.relations["clicks"], time=None)
    for version, error, said in (
        (tmp_path / "nowhere", ArtifactError, "nowhere"),
        (3, InputError, "version: expected a saved recommender"),
        (Recommender(integers), InputError, "items with texts"),
        (Recommender(timeless), InputError, "times"),
    ):
        with pytest.raises(error, match=said):
            rec.reload(version)
        assert rec.retriever is before
    pd.testing.assert_frame_equal(rec.recommend(USERS, k=5), rows)
