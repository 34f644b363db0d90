"""build against a brute-force oracle on random small logs, and what bad input gets."""

from __future__ import annotations

import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import micgraph as mg
from micgraph.graph.relation import Relation
from micgraph.schema import ConfigError, InputError, SchemaError

HOUR, START = 3_600_000_000, 1_700_000_000_000_000
Event = tuple[str, int, int, int, int | None]  # user, item, microseconds since START, ordinal, session

event = st.tuples(
    st.sampled_from(["ann", "bob", "Cid"]),
    st.sampled_from([7, 10, 2, 33]),
    st.one_of(st.integers(0, 12).map(lambda n: n * HOUR // 2), st.integers(0, 5 * HOUR)),
    st.integers(0, 2),
    st.sampled_from([None, 1, 2]),
)
logs = st.lists(event, min_size=1, max_size=25, unique_by=lambda e: (e[0], e[1], e[2] // 1_000_000))


def table(events: list[Event], sessions: bool) -> pa.Table:
    user, item, micros, ordinal, session = zip(*events, strict=True)
    columns: dict[str, Any] = {"user_id": user, "item_id": item, "timestamp": [START + m for m in micros]}
    columns["ordinal"] = ordinal
    if sessions:
        columns["session_id"] = pa.array(session, pa.int64())
    return pa.table(columns)


def oracle_sessions(events: list[Event], given_ids: bool) -> list[tuple[str, list[Event]]]:
    """(user, events in order), in the order of (user, first event)."""
    found: list[tuple[str, list[Event]]] = []
    for user in sorted({e[0] for e in events}):
        by_id: dict[int, list[Event]] = {}
        timed: list[list[Event]] = []
        for e in sorted((e for e in events if e[0] == user), key=lambda e: (e[2], e[3], e[1])):
            if given_ids and e[4] is not None:
                by_id.setdefault(e[4], []).append(e)
            elif timed and e[2] - timed[-1][-1][2] <= HOUR and e[2] - timed[-1][0][2] <= HOUR:
                timed[-1].append(e)
            else:
                timed.append([e])
        everything = [*by_id.values(), *timed]
        found += [(user, s) for s in sorted(everything, key=lambda s: (s[0][2], s[0][3], s[0][1]))]
    return found


def rows(rel: Relation, values: list[Any] | None = None) -> list[list[Any]]:
    flat = rel.col.tolist() if values is None else list(zip(rel.col.tolist(), values, strict=True))
    bounds = rel.indptr.tolist()
    return [flat[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


@settings(max_examples=60)
@given(logs, st.booleans(), st.randoms(use_true_random=False))
def test_build_equals_brute_force(events: list[Event], sessions: bool, random: Any) -> None:
    random.shuffle(events)
    graph = mg.build(mg.read_log(table(events, sessions), time_unit="us")).validate()
    users, items = sorted({e[0] for e in events}), sorted({e[1] for e in events})
    assert graph.users is not None and graph.users.values.to_pylist() == users
    assert graph.items is not None and graph.items.values.to_pylist() == items
    first = min(START + e[2] for e in events) // 1_000_000
    assert graph.epoch == first

    def seen(e: Event) -> tuple[int, int]:
        return items.index(e[1]), (START + e[2]) // 1_000_000 - first

    in_order = sorted(events, key=lambda e: (e[2], e[3], e[1]))
    clicks, contains = graph.relation("clicks"), graph.relation("contains")
    assert rows(clicks, clicks.time.tolist()) == [[seen(e) for e in in_order if e[0] == u] for u in users]
    expected = oracle_sessions(events, sessions)
    assert rows(contains, contains.time.tolist()) == [[seen(e) for e in s] for _, s in expected]
    assert rows(graph.relation("has")) == [[i for i, (owner, _) in enumerate(expected) if owner == u] for u in users]
    pairs = Counter(p for _, s in expected for p in combinations(sorted({items.index(e[1]) for e in s}), 2))
    both = {**pairs, **{(b, a): n for (a, b), n in pairs.items()}}
    co_occurs = graph.relation("co_occurs")
    assert rows(co_occurs, co_occurs.weight().tolist()) == [
        sorted((b, n) for (a, b), n in both.items() if a == i) for i in range(len(items))
    ]


def test_session_settings() -> None:
    minutes = [0, 20, 45, 50, 70, 200]
    source = pa.table({"user_id": [1] * 6, "item_id": range(6), "timestamp": [1_700_000_000 + 60 * m for m in minutes]})

    def lengths(**settings: str) -> list[int]:
        return mg.build(source, mg.BuildConfig(**settings)).relation("contains").degree().tolist()

    assert lengths() == [4, 1, 1]
    assert lengths(session_gap="20m", session_span="1d") == [2, 3, 1]
    assert lengths(session_gap="1d", session_span="1d") == [6]
    assert lengths(session_gap="1d", session_span="30m") == [2, 3, 1]


def test_two_users_with_the_same_session_id_do_not_share_it() -> None:
    source = pa.table(
        {"user_id": [1, 2], "item_id": [5, 6], "timestamp": [1_700_000_000] * 2, "session_id": ["x", "x"]}
    )
    graph = mg.build(source)
    assert graph.n_sessions == 2 and graph.relation("co_occurs").n_edges == 0


def test_a_saved_graph_comes_back(tiny_log: Any, tmp_path: Path) -> None:
    log = mg.read_log(tiny_log.clicks, items=tiny_log.items, users=tiny_log.users)
    graph = mg.build(log, out=tmp_path / "graph")
    again = mg.RecGraph.load(tmp_path / "graph").validate()
    assert repr(again) == repr(graph) and str(again.summary()) == str(graph.summary())
    for name, rel in graph.relations.items():
        parts = again.relation(name).tensors()
        assert {k: (v.dtype, v.tolist()) for k, v in parts.items()} == {
            k: (v.dtype, v.tolist()) for k, v in rel.tensors().items()
        }
    for ours, theirs in ((graph.item_fields, again.item_fields), (graph.user_fields, again.user_fields)):
        assert list(ours) == list(theirs)
        assert all(ours[n].values.tolist() == theirs[n].values.tolist() for n in ours)
    assert again.item_vocab == graph.item_vocab and again.user_vocab == graph.user_vocab
    assert again.items_table == graph.items_table
    assert (again.epoch, again.refused, again.manifest) == (graph.epoch, graph.refused, graph.manifest)
    assert again.titles([3, 0, -1]) == graph.titles([3, 0, -1])


def test_order_of_rows_does_not_matter(tiny_log: Any) -> None:
    graphs = [
        mg.build(mg.read_log(tiny_log.clicks.sample(frac=1, random_state=seed), items=tiny_log.items.sample(frac=1)))
        for seed in (1, 2)
    ]
    for name in graphs[0].relations:
        one, two = (g.relation(name).tensors() for g in graphs)
        assert {k: v.tolist() for k, v in one.items()} == {k: v.tolist() for k, v in two.items()}


def test_items_without_features_and_features_without_items() -> None:
    clicks = pa.table({"user_id": [1, 1], "item_id": ["a", "b"], "timestamp": [1_700_000_000, 1_700_000_100]})
    items = pa.table({"item_id": ["a", "zz"], "title": ["A film", "never seen"], "category": ["x", "y"]})
    graph = mg.build(mg.read_log(clicks, items=items))
    assert graph.category.tolist() == [1, 0]
    assert graph.titles([0, 1]) == ["A film", "b"]
    assert graph.refused["item row: its id has no event"] == 1
    assert graph.refused["item without a row: features unknown"] == 1
    assert "its id has no event" in str(graph.summary())


def test_one_user_and_one_item() -> None:
    one = mg.build(pa.table({"user_id": ["u"], "item_id": ["i"], "timestamp": [1_700_000_000]})).validate()
    assert one.n_nodes == {"user": 1, "item": 1, "session": 1}
    assert one.relation("co_occurs").n_edges == 0 and one.last_time == 0
    assert one.relation("clicks", reverse=True).col.tolist() == [0]


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    clicks = pa.table({"user_id": [1], "item_id": [2], "timestamp": [1_700_000_000]})
    nothing = mg.read_log(clicks).filter("user_id = 99")
    with pytest.raises(InputError, match="at least one event"):
        mg.build(nothing, out=tmp_path / "graph")
    assert not (tmp_path / "graph").exists()


def test_nothing_is_written_when_a_table_is_wrong(tmp_path: Path) -> None:
    clicks = pa.table({"user_id": [1], "item_id": [2], "timestamp": [1_700_000_000]})
    mg.build(clicks, out=tmp_path / "graph")
    before = {p: p.read_bytes() for p in (tmp_path / "graph").rglob("*") if p.is_file()}
    items = pa.table({"item_id": [2], "embedding": [[1.0, 2.0]]})
    bad = items.append_column("shape", pa.array([{"w": 1}]))
    with pytest.raises(SchemaError, match="shape: expected text"):
        mg.build(mg.read_log(clicks, items=bad), out=tmp_path / "graph")
    assert {p: p.read_bytes() for p in (tmp_path / "graph").rglob("*") if p.is_file()} == before


def test_times_that_no_graph_holds() -> None:
    seconds = pa.array([-1_000_000_000, 1_700_000_000], pa.timestamp("s"))
    with pytest.raises(InputError, match="68 years"):
        mg.build(pa.table({"user_id": [1, 1], "item_id": [1, 2], "timestamp": seconds}))


@pytest.mark.parametrize(
    ("settings_", "argument"),
    [
        ({"semantic": ("titles",)}, "semantic"),
        ({"semantic": "title"}, "semantic"),
        ({"semantic_k": 0}, "semantic_k"),
        ({"co_occurs_top_k": 0}, "co_occurs_top_k"),
        ({"encode": "bert"}, "encode"),
    ],
)
def test_settings_out_of_range(settings_: dict[str, Any], argument: str) -> None:
    with pytest.raises(ConfigError, match=f"^{argument}: expected"):
        mg.BuildConfig(**settings_)


def test_sources_that_the_items_lack() -> None:
    clicks = pa.table({"user_id": [1], "item_id": [2], "timestamp": [1_700_000_000]})
    with pytest.raises(ConfigError, match="sources that the items have"):
        mg.build(clicks, mg.BuildConfig(semantic=("tags",)))


def test_globo_builds_in_time(shared_data: Path) -> None:
    columns = {"item_id": "click_article_id", "timestamp": "click_timestamp"}
    source = shared_data / "globo" / "clicks.parquet"
    begin = time.perf_counter()
    log = mg.read_log(source, columns=columns).filter("timestamp < 1508155200000000")
    graph = mg.build(log)
    assert time.perf_counter() - begin < 60
    assert graph.n_items > 30_000 and graph.relation("clicks").n_edges == len(log)


def test_settings_may_be_a_mapping(tiny_log: Any) -> None:
    log = mg.read_log(tiny_log.clicks)
    short = mg.build(log, {"session_gap": "1m", "co_occurs_top_k": 3})
    assert short.config == mg.build(log, mg.BuildConfig(session_gap="1m", co_occurs_top_k=3)).config
    assert short.n_sessions > mg.build(log, {}).n_sessions


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ({"sesion_gap": "30m"}, ConfigError, "sesion_gap: .*did you mean 'session_gap'"),
        ({"semantic_k": "many"}, ConfigError, "semantic_k: expected a valid integer"),
        ({"semantic_k": 0}, ConfigError, "semantic_k: expected at least 1"),
        ({"semantic_k": 2**31}, ConfigError, "semantic_k: expected at least 1 and at most"),
        ({"co_occurs_top_k": 10**30}, ConfigError, "co_occurs_top_k: expected at least 1 and at most"),
        ({"max_pairs_per_session": 2**31}, ConfigError, "max_pairs_per_session: expected at least 1 and at most"),
        ({"session_gap": "soon"}, InputError, "session_gap: expected a length of time"),
        ("30m", ConfigError, "config: expected a BuildConfig or a mapping"),
    ],
)
def test_a_mapping_of_bad_settings_is_refused_by_name(tiny_log: Any, config: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        mg.build(mg.read_log(tiny_log.clicks), config)


def test_weights_above_zero_and_durations_change_nothing_yet(tiny_log: Any) -> None:
    """read_log's docstring and the README say so: change them with this test."""
    heavy = tiny_log.clicks.assign(weight=range(1, len(tiny_log.clicks) + 1), duration=5.0)
    assert mg.build(heavy).fingerprint() == mg.build(tiny_log.clicks).fingerprint()
