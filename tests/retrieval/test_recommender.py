"""recommend: exact lists, exact filters, reasons that are true."""

from __future__ import annotations

import logging
import math

import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.retrieval.channels import CHANNELS
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.recommender import Recommender

COLUMNS = ["user_id", "item_id", "rank", "score", "channels", "u2i_score", "u2u_score", "u2u_count", "i2i_score"]
COLUMNS += ["i2i_count", "trigger", "degraded"]


def cosine(a, b):
    norm = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm if norm else 0.0


def encoded(world, history, which):
    vectors = getattr(world.model, which)
    return [sum(float(vectors[i][d]) for i in history[-world.model.history :]) for d in range(4)]


def loop(world, user, k):
    """One user's list from MIC 2.2, 2.8 and Eqs. 3-5, in plain loops: item -> what is said of it, in order."""
    w, c, n = world, world.fusion, 25
    search, own = w.model.search.tolist(), w.model.own.tolist()
    history, q = w.clicks[user], encoded(w, w.clicks[user], "search")
    occurrences = {}  # item -> (channel, similarity, trigger)

    def found(item, channel, similarity, trigger):
        if item not in history:
            occurrences.setdefault(item, []).append((channel, similarity, trigger))

    score = {i: sum(x * y for x, y in zip(q, search[i], strict=True)) for i in range(n)}
    for item in sorted(set(range(n)) - set(history), key=lambda i: (-score[i], i))[: max(c.k1, k)]:
        found(item, "u2i", 0.0, None)
    u = encoded(w, history, "own")
    alike = {v: cosine(u, encoded(w, w.clicks[v], "own")) for v in range(12) if v != user}
    for v in sorted(alike, key=lambda v: (-round(alike[v], 6), v))[: c.m1]:
        for item in w.clicks[v][-c.m2 :]:
            found(item, "u2u", alike[v], f"user:u{v:02}")
    for clicked in history[::-1][: c.m]:
        near = {j: cosine(own[clicked], own[j]) for j in range(n) if j != clicked}
        for item in sorted(near, key=lambda j: (-near[j], j))[: c.m3]:
            found(item, "i2i", near[item], f"item:i{clicked:02}")
    total = sum(math.exp(len(x)) for x in occurrences.values())
    category, rows = w.graph.category.tolist(), []
    while len(rows) < min(k, len(occurrences)):
        best = None
        for item in sorted(set(occurrences) - {r["item"] for r in rows}):
            share = sum(category[item] != category[r["item"]] for r in rows) / max(len(rows), 1)
            eq5 = cosine(q, search[item]) + 0.5 * math.exp(len(occurrences[item])) / total + 0.2 * share
            if best is None or eq5 > best[0] + 1e-6:
                best = (eq5, item)
        why = [o for o in occurrences[best[1]] if o[0] != "u2i"]
        rows.append(
            {
                "item": best[1],
                "score": best[0],
                "channels": ",".join(n for n in CHANNELS if any(o[0] == n for o in occurrences[best[1]])),
                "u2i_score": score[best[1]],
                "u2u_score": sum(o[1] for o in why if o[0] == "u2u"),
                "u2u_count": sum(o[0] == "u2u" for o in why),
                "i2i_score": sum(o[1] for o in why if o[0] == "i2i"),
                "i2i_count": sum(o[0] == "i2i" for o in why),
                "trigger": max(why, key=lambda o: round(o[1], 3))[2] if why else None,
            }
        )
    return rows


@pytest.mark.parametrize("seed", range(4))
def test_recommend_is_the_loop_of_the_paper(world, seed):
    w = world(seed)
    users = [u for u in range(12) if w.clicks[u]]
    table = Recommender(w).recommend(pa.array([f"u{u:02}" for u in users]), k=7)
    assert table.column_names == COLUMNS
    for place, user in enumerate(users):
        got = table.slice(place * 7, 7).to_pylist()
        for row, expected in zip(got, loop(w, user, 7), strict=True):
            assert row["user_id"] == f"u{user:02}" and row["item_id"] == f"i{expected['item']:02}"
            for name in ("channels", "u2u_count", "i2i_count", "trigger"):
                assert row[name] == expected[name]
            assert row["score"] == pytest.approx(expected["score"], abs=1e-5)
            assert row["u2i_score"] == pytest.approx(expected["u2i_score"], abs=1e-4)
            assert row["u2u_score"] == pytest.approx(expected["u2u_score"], abs=1e-5)
            assert row["i2i_score"] == pytest.approx(expected["i2i_score"], abs=3e-3)  # the table is float16


channel_sets = st.sets(st.sampled_from(CHANNELS), min_size=1).map(sorted)


item_lists = st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=4)


@given(st.integers(0, 5), item_lists, st.integers(1, 9), channel_sets, st.booleans(), st.integers(0, 2))
def test_properties_of_every_list(world, seed, lists, k, channels, filter_seen, variant):
    settings = [{}, {"metric": "cosine", "interests": 2}, {"basic": "score", "count_scale": "log", "k2": 3, "k3": 2}]
    rec = Recommender(world(seed, **settings[variant]))
    histories = [[f"i{i:02}" for i in history] for history in lists]  # i25 to i30 do not exist
    frame = rec.recommend(histories=histories, k=k, channels=channels, filter_seen=filter_seen)
    assert frame["user_id"].tolist() == [row for row in range(len(lists)) for _ in range(k)]
    assert frame["rank"].tolist() == list(range(1, k + 1)) * len(lists)
    assert not frame.duplicated(["user_id", "item_id"]).any()
    for row, history in enumerate(histories):
        mine = frame[frame["user_id"] == row]
        if filter_seen:
            assert not set(mine["item_id"]) & set(history)
        popular = mine["channels"] == "popular"
        assert popular.is_monotonic_increasing
        for name in ("u2u", "i2i"):
            assert (mine[f"{name}_score"][mine[f"{name}_count"] == 0] == 0).all()
        assert mine["score"].isna().equals(popular) and (not popular.any() or mine["degraded"].all())
        for names in mine["channels"][~popular]:
            assert set(names.split(",")) <= set(channels)
        alone = rec.recommend(histories=[history], k=k, channels=channels, filter_seen=filter_seen)
        assert alone["item_id"].tolist() == mine["item_id"].tolist()
        assert alone["channels"].tolist() == mine["channels"].tolist()


def test_batches_do_not_change_anything(world, monkeypatch):
    w = world(1)
    users = [f"u{u:02}" for u in range(12)]
    whole = Recommender(w).recommend(users, k=5)
    monkeypatch.setattr("micgraph.retrieval.retriever.BATCH", 5)
    pd.testing.assert_frame_equal(Recommender(world(1)).recommend(users, k=5), whole)


@pytest.mark.parametrize(
    "given", [FusionConfig(k1=1, m1=2, m2=1, m=1, m3=1), {"k1": 1, "m1": 2, "m2": 1, "m": 1, "m3": 1}]
)
def test_other_sizes_and_weights_than_the_runs(world, given):
    w = world(4, basic="score")
    config = Recommender(w, given).retriever.config
    assert (config.k1, config.m1, config.m2, config.m, config.m3) == (1, 2, 1, 1, 1)
    assert config.basic == ("score" if isinstance(given, dict) else "cosine")  # a mapping changes what it names
    alike = world(4, **{**vars(w.fusion), **vars(config)})
    users = ["u01", "u02"]
    pd.testing.assert_frame_equal(Recommender(w, given).recommend(users, k=6), Recommender(alike).recommend(users, k=6))
    assert w.fusion.k1 == 6


def test_a_channel_alone_reads_only_its_stores(world):
    w = world(2)
    rec = Recommender(w)
    frame = rec.recommend(["u03"], k=5, channels="u2i")
    assert set(frame["channels"]) == {"u2i"} and frame["trigger"].isna().all() and not frame["degraded"].any()
    assert w.model.calls == 1  # the other users were not encoded
    score = w.model.search @ torch.tensor(encoded(w, w.clicks[3], "search"))
    score[w.clicks[3]] = -math.inf
    expected = {f"i{i:02}" for i in torch.topk(score, 6).indices.tolist()}
    assert set(frame["item_id"]) <= expected


@pytest.mark.parametrize("neighbors", ["co_occurs", "similar"])
def test_i2i_reads_the_graph_on_request(world, neighbors):
    w = world(3, neighbors=neighbors, m=1, m3=2)
    history = ["i04", "i09"]
    frame = Recommender(w).recommend(histories=[history], k=3, channels=["i2i"], filter_seen=False)
    strength = w.counts[9] if neighbors == "co_occurs" else w.scores[9]
    order = sorted(range(len(strength)), key=lambda e: (-strength[e], e))[:2]
    found = frame[frame["channels"] == "i2i"]
    assert set(found["item_id"]) == {f"i{w.pairs[9][e]:02}" for e in order}
    assert set(found["trigger"]) == {"item:i09"}


def test_popular_items_fill_up_in_their_order(world):
    w = world(4, k1=1)
    rec = Recommender(w)
    frame = rec.recommend(histories=[["i03"]], k=20, channels=["u2u", "i2i"], filter_seen=False)
    count = w.graph.popularity().tolist()
    fill = frame[frame["channels"] == "popular"]["item_id"].tolist()
    found = set(frame["item_id"]) - set(fill)
    order = [f"i{i:02}" for i in sorted(range(25), key=lambda i: (-count[i], i))]
    assert fill and found and fill == [i for i in order if i not in found][: len(fill)]
    assert frame["degraded"].all()


def test_whoever_has_seen_nearly_everything_gets_what_is_left(world, caplog):
    rec = Recommender(world(0))
    history = [f"i{i:02}" for i in range(23)]
    with caplog.at_level(logging.WARNING, "micgraph"):
        frame = rec.recommend(histories=[history, ["i01"]], k=5)
    assert sorted(frame[frame["user_id"] == 0]["item_id"]) == ["i23", "i24"]
    assert (frame["user_id"] == 1).sum() == 5
    assert "fewer than k=5" in caplog.text


@pytest.mark.parametrize("channels", ["all", "u2i", ["u2u", "i2i"]])
def test_candidates_are_all_that_is_recommended(world, channels, caplog):
    rec = Recommender(world(6))
    allowed = ["i03", "i07", "i11", "i19", "nope"]
    with caplog.at_level(logging.WARNING, "micgraph"):
        frame = rec.recommend(["u01", "u02"], k=4, channels=channels, candidates=allowed, filter_seen=False)
    assert len(frame) == 8 and set(frame["item_id"]) == set(allowed[:4])
    assert "1 of 5 items are unknown" in caplog.text


def test_similar_items_and_users_are_the_nearest(world):
    w = world(5)
    rec = Recommender(w)
    frame = rec.similar_items(["i03", "i00"], k=4)
    own = w.model.own.tolist()
    for place, item in enumerate((3, 0)):
        near = sorted((j for j in range(25) if j != item), key=lambda j: -cosine(own[item], own[j]))[:4]
        mine = frame.iloc[place * 4 : place * 4 + 4]
        assert mine["similar_id"].tolist() == [f"i{j:02}" for j in near]
        assert mine["score"].tolist() == pytest.approx([cosine(own[item], own[j]) for j in near], abs=1e-5)
    users = rec.similar_users("u05", k=11)
    assert users["rank"].tolist() == list(range(1, 12)) and "u05" not in set(users["similar_id"])
