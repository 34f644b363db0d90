"""Live histories: the rule of merging, what an observed click changes, and for whom."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.knn import Ragged
from micgraph.retrieval.live import LiveHistories
from micgraph.retrieval.rankers import FusedRanker
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import InputError, UnknownIdError
from tests.retrieval.memory_store import MemoryStore

NOW = 1_000  # seconds; the graph's clicks are at 0, 1, 2, ...
USERS, ITEMS = 12, 25
events = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 29), st.integers(-2_000_000, 12_000_000)), max_size=60)


def plain_rule(row, live, size, unknown):
    """The last ``size`` of a row [(item, second)] of the graph and of live events {(microsecond, key, item)}."""
    merged = [(second, 0, place, 0, item) for place, (item, second) in enumerate(row)]
    for micro, key, item in sorted(live):
        second = micro // 1_000_000
        if (item, second) not in row and (item >= 0 or unknown):
            merged.append((second, 1, micro, key, item))
    merged.sort()
    return [(item, second) for second, *_, item in merged[-size:]]


@given(events, st.integers(0, 3), st.integers(1, 9), st.booleans())
def test_merged_histories_are_those_of_a_plain_loop(world, observed, seed, size, unknown):
    w = world(seed, integer_ids=True)  # items 1000 to 1024; a key of an integer is itself
    store = MemoryStore(size=1_000)
    live = LiveHistories(w.graph, store)
    for user, item, micro in observed:
        store.append([b"su%02d" % user], [1_000 + item], [micro])
    keys = [b"su%02d" % user for user in range(15)]
    number = np.array([user if user < USERS else -1 for user in range(15)])
    for cut in (None, size):
        rows = live.merged(number, live.take(live.ask(keys)), cut, unknown)
        for user in range(15):
            row = [(item, at) for at, item in enumerate(w.clicks[user])] if user < USERS else []
            mine = {(t, 1_000 + i, i if i < ITEMS else -1) for u, i, t in observed if u == user}
            part = slice(int(rows.indptr[user]), int(rows.indptr[user + 1]))
            got = list(zip(rows.items[part].tolist(), rows.time[part].tolist(), strict=True))
            assert got == plain_rule(row, mine, cut or 10**9, unknown)


def test_a_cut_row_still_knows_the_clicks_of_its_first_second(world):
    w = world(integer_ids=True)
    clicks = w.graph.relations["clicks"]
    rich = int(clicks.degree().argmax())
    part = slice(int(clicks.indptr[rich]), int(clicks.indptr[rich + 1]))
    clicks.time[part] = 5
    live = LiveHistories(w.graph, MemoryStore())
    first = int(clicks.col[part][0])
    again = Ragged(torch.tensor([0, 1]), torch.tensor([first]), torch.tensor([5]))
    row = clicks.col[part].tolist()
    assert live.merged(np.array([rich]), again, 2).items.tolist() == row[-2:]  # and not the first one once more


def recommender(world, seed=0, **fusion):
    w = world(seed, **fusion)
    store = MemoryStore()
    return w, store, Recommender(w, store=store, store_timeout=60)


def same(a, b):
    left, right = (frame.drop(columns="user_id").reset_index(drop=True) for frame in (a, b))
    pd.testing.assert_frame_equal(left, right)


@pytest.mark.parametrize("seed", range(3))
def test_the_next_recall_is_that_of_the_longer_history(world, seed):
    w, _, rec = recommender(world, seed)
    user = max(range(USERS), key=lambda u: len(w.clicks[u]))
    before = rec.recommend(f"u{user:02}", k=6)
    clicked = ["i03", "i11", "nobody's", "i07"]
    rec.observe([f"u{user:02}"] * 4, clicked, [NOW, NOW + 1, NOW + 2, NOW + 3])
    history = [f"i{item:02}" for item in w.clicks[user]] + clicked
    after = rec.recommend(f"u{user:02}", k=6)
    # U2U leaves the user itself out, somebody who brings a history is nobody: ask the channels without it
    own = ["u2i", "i2i"]
    same(rec.recommend(f"u{user:02}", k=6, channels=own), rec.recommend(histories=[history], k=6, channels=own))
    assert not after.equals(before) and not set(after["item_id"]) & set(history)
    assert "item:i07" in set(rec.recommend(f"u{user:02}", k=6, channels="i2i")["trigger"])


@pytest.mark.parametrize("seed", range(3))
def test_somebody_new_is_served_from_the_first_click_like_a_history(world, seed):
    w, _, rec = recommender(world, seed)
    with pytest.raises(UnknownIdError, match="ann"):
        rec.recommend(["ann"])
    rec.observe("ann", "i05", "2024-03-01 12:00")
    one = rec.recommend(["ann"], k=6)
    assert set(one["user_id"]) == {"ann"}
    same(one, rec.recommend(histories=[["i05"]], k=6))
    rec.observe("ann", "i09", pd.Timestamp("2024-03-01 11:00"))  # late: it lands before the other
    same(rec.recommend(["ann"], k=6), rec.recommend(histories=[["i09", "i05"]], k=6))
    both = rec.recommend(["u03", "ann"], k=4)
    assert both["user_id"].tolist() == ["u03"] * 4 + ["ann"] * 4
    with pytest.raises(UnknownIdError, match="bob"):
        rec.recommend(["ann", "bob"])
    first = rec.recommend(["ann"], k=6)["item_id"][0]
    assert f"{first} is at place 1 of 6" in rec.explain("ann", first, k=6)


def test_clicks_that_come_again_change_nothing(world):
    w, store, rec = recommender(world)
    rec.observe(["u01", "u01"], ["i03", "i04"], [NOW, NOW + 1])
    before, rows = rec.recommend("u01", k=6), dict(store.rows)
    rec.observe(["u01", "u01", "u01"], ["i04", "i03", "i04"], [NOW + 1, NOW, NOW + 1])
    user = next(u for u in range(USERS) if w.clicks[u])
    rec.observe(f"u{user:02}", f"i{w.clicks[user][0]:02}", 0)  # what the graph has in this second is no new click
    pd.testing.assert_frame_equal(rec.recommend("u01", k=6), before)
    assert store.rows[b"su01"] == rows[b"su01"]
    found = rec.retriever.for_request().reading.people(f"u{user:02}", "")
    assert found.histories.items.tolist() == w.clicks[user]


@pytest.mark.parametrize("seed", range(3))
def test_similar_users_get_what_was_just_clicked(world, seed):
    w, _, rec = recommender(world, seed)
    asker = max(range(USERS), key=lambda u: len(w.clicks[u]))
    near = str(rec.similar_users(f"u{asker:02}", k=1)["similar_id"][0])
    fresh = next(item for item in range(ITEMS) if item not in w.clicks[int(near[1:])] and item not in w.clicks[asker])
    before = rec.recommend(f"u{asker:02}", k=ITEMS - len(set(w.clicks[asker])), channels="u2u")
    rec.observe(near, f"i{fresh:02}", NOW)
    rec.observe(near, "unknown", NOW + 1)
    after = rec.recommend(f"u{asker:02}", k=ITEMS - len(set(w.clicks[asker])), channels="u2u")
    counts = [frame.set_index("item_id")["u2u_count"].get(f"i{fresh:02}") for frame in (before, after)]
    assert counts[1] == counts[0] + 1
    row = after.set_index("item_id").loc[f"i{fresh:02}"]
    assert row["trigger"].startswith("user:u")
    stated = rec.explain(f"u{asker:02}", f"i{fresh:02}", k=len(after), channels="u2u")
    assert f"clicked it {'once' if counts[1] == 1 else f'{counts[1]} times'}" in stated


@pytest.mark.parametrize("fusion", [{}, {"fusion": "rrf"}, {"metric": "cosine", "interests": 2}])
def test_compiled_loops_and_tensors_read_the_same_live_clicks(world, fusion):
    w, _, rec = recommender(world, 1, **fusion)
    rng = np.random.default_rng(0)
    people = [f"u{u:02}" for u in rng.integers(0, USERS, 80)]
    rec.observe(people, [f"i{i:02}" for i in rng.integers(0, 28, 80)], rng.integers(0, 20, 80))
    everyone = [[f"u{u:02}"] for u in range(USERS)]  # one by one: with all at once all are somebody's similar users
    compiled = pd.concat([rec.recommend(one, k=8) for one in everyone])
    rec.retriever.__dict__["blender"] = None
    tensors = pd.concat([rec.recommend(one, k=8) for one in everyone])
    assert set(compiled["trigger"].str.slice(0, 5)) >= {"user:", "item:"}
    for name in ("item_id", "trigger", "u2u_count", "channels"):
        assert compiled[name].tolist() == tensors[name].tolist()


def test_a_request_reads_the_store_twice_whatever_the_number_of_users(world):
    _, store, rec = recommender(world)
    rec.observe("u01", "i01", NOW)
    store.reads = 0
    rec.recommend([f"u{u:02}" for u in range(USERS)], k=4)
    assert store.reads == 2
    rec.recommend(histories=[["i01"]], k=4)
    assert store.reads == 3


def test_another_fusion_of_the_same_stores_reads_the_same_clicks(world):
    _, _, rec = recommender(world, 2)
    rec.observe("ann", "i05", NOW)
    other = rec.with_fusion({"fusion": "rrf"})
    same(other.recommend("ann", k=5), other.recommend(histories=[["i05"]], k=5))


def test_without_a_store_nothing_is_observed_or_read(world):
    w, _, rec = recommender(world)
    plain = Recommender(w)
    with pytest.raises(InputError, match="store"):
        plain.observe("u01", "i01", NOW)
    before = plain.recommend("u01", k=5)
    rec.observe("u01", "i01", NOW)
    pd.testing.assert_frame_equal(plain.recommend("u01", k=5), before)


@pytest.mark.parametrize("store", ["a path", object()])
def test_what_is_no_store_is_refused(world, store):
    with pytest.raises(InputError, match="LmdbStore"):
        Recommender(world(), store=store)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), True, "1"])
def test_what_is_no_timeout_is_refused(world, timeout):
    with pytest.raises(InputError, match="store_timeout"):
        Recommender(world(), store=MemoryStore(), store_timeout=timeout)


def test_gaps_are_seconds_between_clicks_of_the_graph_and_live_ones(world):
    w, _, rec = recommender(world, 4)
    user = max(range(USERS), key=lambda u: len(w.clicks[u]))
    size = len(w.clicks[user])  # at seconds 0 to size - 1
    rec.observe([f"u{user:02}"] * 2, ["i01", "i02"], [NOW, NOW + 2.5])
    seen, encode = [], w.model.encode_queries
    w.model.encode_queries = lambda *args: (seen.append(args[4]), encode(*args))[1]
    rec.recommend(f"u{user:02}", k=3)
    assert seen[0][0].tolist()[-3:] == [1, NOW - size + 1, 2]


def test_evaluation_reads_the_graphs_clicks_alone(world):
    w, store, rec = recommender(world)
    everyone = [f"u{u:02}" for u in range(USERS)]
    histories = Ragged(torch.arange(3), torch.tensor([3, 4]))
    before = FusedRanker(rec).rank(histories, torch.tensor([-1, -1]), 6)
    rec.observe(everyone, ["i07"] * USERS, range(NOW, NOW + USERS))
    store.reads = 0
    assert torch.equal(FusedRanker(rec).rank(histories, torch.tensor([-1, -1]), 6), before) and store.reads == 0
