"""recommend and its frame: exact lists, exact filters, reasons that are true, and what bad input gets."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.fields import Field
from micgraph.knn import Ragged
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.retrieval.channels import CHANNELS
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import ArtifactError, ConfigError, InputError, MicgraphError, UnknownIdError

REPOSITORY = Path(__file__).resolve().parents[2]
COLUMNS = ["user_id", "item_id", "rank", "score", "channels", "u2i_score", "u2u_score", "u2u_count", "i2i_score"]
COLUMNS += ["i2i_count", "trigger", "degraded"]


def ragged(lists):
    flat = torch.tensor([i for x in lists for i in x], dtype=torch.int64)
    return Ragged(torch.tensor([0] + [len(x) for x in lists]).cumsum(0), flat)


def held_out(histories, users, clicks):
    return SimpleNamespace(histories=ragged(histories), users=users, clicks=clicks)


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


def test_bad_fusion_settings_are_named(world):
    with pytest.raises(ConfigError, match="fusion.lambda_dif.*did you mean 'lambda_div'"):
        Recommender(world(0), {"lambda_dif": 1})
    with pytest.raises(ConfigError, match="fusion.m1.*at least 1"):
        Recommender(world(0), {"m1": 0})


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


@pytest.mark.parametrize(
    ("given_kind", "kind"),
    [
        (pd.Series, pd.DataFrame),
        (pl.Series, pl.DataFrame),
        (pa.array, pa.Table),
        (np.array, pd.DataFrame),
        (list, pd.DataFrame),
    ],
)
def test_frames_are_of_the_callers_kind(world, given_kind, kind):
    rec = Recommender(world(1))
    for frame in (
        rec.recommend(given_kind(["u01", "u00"]), k=3),
        rec.similar_users(given_kind(["u01", "u00"]), k=3),
    ):
        assert isinstance(frame, kind)
        users = frame["user_id"].to_pylist() if kind is pa.Table else frame["user_id"].to_list()
        assert users == ["u01"] * 3 + ["u00"] * 3
    lists = [["i01"], ["i02", "i03"]]
    histories = (
        pa.array(lists) if given_kind is pa.array else given_kind(lists) if given_kind is not np.array else lists
    )
    assert isinstance(rec.recommend(histories=histories, k=2), kind)


def test_without_pandas_lists_get_arrow(world, monkeypatch):
    monkeypatch.setattr("micgraph.retrieval.frames.find_spec", lambda name: None)
    assert isinstance(Recommender(world(1)).recommend(["u01"], k=2), pa.Table)


def test_ids_come_back_as_they_were_given(world):
    rec = Recommender(world(1, integer_ids=True))
    table = rec.recommend(pa.array(["u01"]), k=20)
    assert table["item_id"].type == pa.int64() and set(table["item_id"].to_pylist()) <= set(range(1000, 1025))
    triggers = [t for t in table["trigger"].to_pylist() if t and t.startswith("item:")]
    assert triggers and all(1000 <= int(t[5:]) < 1025 for t in triggers)
    assert rec.recommend(histories=[[1003, 1004]], k=2)["item_id"].dtype.kind == "i"
    assert rec.similar_items(1003, k=2)["item_id"].tolist() == [1003, 1003]


def test_unknown_items_of_a_history_are_read_and_counted(world, caplog):
    rec = Recommender(world(2))
    with caplog.at_level(logging.WARNING, "micgraph"):
        frame = rec.recommend(histories=[["i01", "new"], ["i02"]], k=4)
    assert "1 of 3 items are unknown to the graph, which has texts such as 'i00'" in caplog.text and len(frame) == 8


@pytest.mark.parametrize("history", [[], ["nope"], ["nope", "neither"]])
def test_nobody_is_similar_to_one_of_whom_nothing_is_known(world, history):
    rec = Recommender(world(2))
    frame = rec.recommend(histories=[history, ["i01", "nope"]], k=8)
    nobody, somebody = frame[frame["user_id"] == 0], frame[frame["user_id"] == 1]
    assert set(nobody["channels"]) <= {"u2i", "popular"} and nobody["degraded"].all()
    assert not nobody[["u2u_count", "i2i_count", "u2u_score", "i2i_score"]].to_numpy().any()
    assert nobody["trigger"].isna().all()
    assert somebody["u2u_count"].any() and somebody["i2i_count"].any()


def test_features_alone_make_users_similar(world):
    fields = {"shift": Field("shift", "dense", 4, torch.tensor([[9.0, 0, 0, 0]]))}
    frame = Recommender(world(2)).recommend(histories=[[]], k=8, fields=fields)
    assert frame["u2u_count"].any() and not frame["i2i_count"].any()


def test_fields_reach_the_model(world):
    w = world(2, basic="score")
    rec = Recommender(w)
    shift = torch.tensor([[9.0, 0, 0, 0], [0, -9, 0, 0]])
    fields = {"shift": Field("shift", "dense", 4, shift)}
    frame = rec.recommend(histories=[[], []], k=1, channels="u2i", fields=fields)
    best = [int((w.model.search @ row).argmax()) for row in shift]
    assert frame["u2i_score"].tolist() == [float(w.model.search[i] @ row) for i, row in zip(best, shift, strict=True)]
    with pytest.raises(InputError, match="3 rows"):
        rec.recommend(histories=[[], [], []], k=1, fields=fields)


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


BAD = {
    "neither users nor histories": ({}, InputError, "neither"),
    "both users and histories": ({"users": ["u01"], "histories": [["i01"]]}, InputError, "both"),
    "no users": ({"users": []}, InputError, "at least one"),
    "an unknown user": ({"users": ["u01", "who"]}, UnknownIdError, r"got 'who'; .*histories="),
    "a user id of another type": (
        {"users": [1]},
        UnknownIdError,
        "texts such as 'u00', among the graph's 12, got the integer 1; pass texts, or pass what",
    ),
    "k of 0": ({"users": ["u01"], "k": 0}, InputError, "from 1 to 25"),
    "k of 2.5": ({"users": ["u01"], "k": 2.5}, InputError, "from 1 to 25"),
    "k beyond the catalogue": ({"users": ["u01"], "k": 26}, InputError, "from 1 to 25"),
    "k beyond the candidates": ({"users": ["u01"], "k": 3, "candidates": ["i01", "i02"]}, InputError, "from 1 to 2"),
    "no candidates": ({"users": ["u01"], "k": 1, "candidates": []}, InputError, "an empty list"),
    "only unknown candidates": ({"users": ["u01"], "k": 1, "candidates": ["x"]}, InputError, "1 unknown"),
    "an unknown channel": ({"users": ["u01"], "channels": ["u2i", "i2u"]}, InputError, "u2i, u2u, i2i"),
    "no channel": ({"users": ["u01"], "channels": []}, InputError, "u2i, u2u, i2i"),
    "a flat history": ({"histories": ["i01", "i02"]}, InputError, "a list of str"),
    "a history that is text": ({"histories": "i01"}, InputError, "got str"),
    "no histories": ({"histories": []}, InputError, "an empty list"),
    "another number of features": ({"users": ["u01"], "fields": {"user_id": ["a", "b"]}}, InputError, "1 rows"),
    "features that are no table": ({"users": ["u01"], "fields": 3}, InputError, "a table"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_a_named_error(world, name):
    arguments, error, message = BAD[name]
    with pytest.raises(error, match=message) as caught:
        Recommender(world(0)).recommend(**arguments)
    assert isinstance(caught.value, MicgraphError) and caught.value.remedy


def test_texts_for_integers_are_named_as_such(world):
    rec = Recommender(world(0, integer_ids=True))
    with pytest.raises(UnknownIdError, match="integers such as 1000, among the graph's 25, got the text '1003'; pass"):
        rec.similar_items("1003")
    with pytest.raises(UnknownIdError, match="got the texts '1003', '1004'; pass"):
        rec.similar_items(np.array(["1003", "1004"]))
    with pytest.raises(UnknownIdError, match="got 7; ask for items"):
        rec.similar_items([1003, 7])


def test_bad_input_of_similar(world):
    rec = Recommender(world(0))
    with pytest.raises(UnknownIdError, match="zz"):
        rec.similar_items(["i01", "zz"])
    with pytest.raises(InputError, match="from 1 to 24"):
        rec.similar_items("i01", k=25)
    with pytest.raises(InputError, match="at least one"):
        rec.similar_users([])


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


def test_a_graph_without_external_ids_is_refused(world):
    w = world(0)
    w.graph.users = None
    with pytest.raises(InputError, match="external ids"):
        Recommender(SimpleNamespace(graph=w.graph, model=w.model, fusion=w.fusion, learned=None))


def test_repr(world):
    assert repr(Recommender(world(0))) == "Recommender(12 users, 25 items, fusion='mic')"
