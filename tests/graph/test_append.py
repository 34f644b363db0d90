"""append of day after day equals one build of all days, and plain loops, after mapping numbers to external ids."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import micgraph as mg
from micgraph.graph.fields import Field
from micgraph.graph.relation import Relation

HOUR, START = 3_600, 1_700_000_000
Event = tuple[str, str, int, int, int | None]  # user, item, quarters of a second since START, ordinal, session
Row = tuple[str, str | None, list[str], float | None, str]  # item, category, tags, year, title

users, items = st.sampled_from(["ann", "bob", "Cid", "dora"]), st.sampled_from(["b", "f", "Z", "a", "k", "é"])
event = st.tuples(
    users,
    items,
    st.one_of(st.integers(0, 12).map(lambda n: n * 2 * HOUR), st.integers(0, 20 * HOUR), st.integers(0, 9)),
    st.integers(0, 2),
    st.sampled_from([None, 1, 2]),
)
row = st.tuples(
    items,
    st.sampled_from([None, "x", "y", "w"]),
    st.lists(st.sampled_from(["red", "blue", "new"]), max_size=3),
    st.sampled_from([None, 1990.5, 2000.0, 2013.25]),
    st.sampled_from(["", "one film", "another film", "news of the day"]),
)
catalogues = st.none() | st.lists(row, min_size=1, max_size=6, unique_by=lambda r: r[0])
day = st.tuples(st.lists(event, min_size=1, max_size=12), catalogues, st.sampled_from(["none", "ordinal", "session"]))
Day = tuple[list[Event], list[Row] | None, str]


def clicks_table(events: list[Event], columns: str) -> pa.Table:
    user, item, quarter, ordinal, session = zip(*events, strict=True)
    made: dict[str, Any] = {"user_id": user, "item_id": item, "timestamp": [START + q / 4 for q in quarter]}
    if columns != "none":
        made["ordinal"] = ordinal
    if columns == "session":
        made["session_id"] = pa.array(session, pa.int64())
    return pa.table(made)


def items_table(rows: list[Row]) -> pa.Table:
    item, category, tags, year, title = zip(*rows, strict=True)
    kinds = {"tags": pa.list_(pa.string()), "year": pa.float64(), "category": pa.string()}
    made = {"item_id": item, "category": category, "tags": tags, "year": year, "title": title}
    return pa.table({name: pa.array(values, kinds.get(name, pa.string())) for name, values in made.items()})


def users_table(rows: list[Row]) -> pa.Table:
    """People of whom only the items' rows say anything: the test needs some."""
    chosen = {("ann", "bob", "Cid", "eve")[i % 4]: (r[1], r[3]) for i, r in enumerate(rows)}
    return pa.table(
        {"user_id": [*chosen], "town": [r[0] for r in chosen.values()], "age": [r[1] for r in chosen.values()]}
    )


def read(events: list[Event], rows: list[Row] | None, columns: str, people: pa.Table | None = None) -> mg.Log:
    tables: dict[str, Any] = {} if rows is None else {"items": items_table(rows), "users": users_table(rows)}
    tables |= {} if people is None else {"users": people}
    return mg.read_log(clicks_table(events, columns), time_unit="s", **tables)


def all_at_once(days: list[Day]) -> mg.Log:
    """One log of all events, with the latest row of each id."""
    events = [
        (*e[:3], e[3] if columns != "none" else 0, e[4] if columns == "session" else None)
        for some, _, columns in days
        for e in some
    ]
    rows = {r[0]: r for _, catalogue, _ in days for r in catalogue or ()}
    people = {p["user_id"]: p for _, c, _ in days if c for p in users_table(c).to_pylist()}
    return read(events, [*rows.values()] or None, "session", pa.Table.from_pylist([*people.values()]) if rows else None)


def lists(rel: Relation, names: list[Any], epoch: int) -> list[list[Any]]:
    """The rows with external ids, and moments, counts or scores."""
    value = rel.weight().tolist() if rel.time is None else [t + epoch for t in rel.time.tolist()]
    score = [None] * rel.n_edges if rel.score is None else rel.score.tolist()
    flat = [(names[c], v, s) for c, v, s in zip(rel.col.tolist(), value, score, strict=True)]
    bounds = rel.indptr.tolist()
    return [flat[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def decoded(field: Field, vocab: Any, n: int) -> list[Any]:
    words = [None, *(vocab.to_pylist() if vocab is not None else [True] * (field.size - 1))]
    if field.kind == "categorical":
        return [words[c] for c in field.values.tolist()]
    if field.kind == "multi" and field.offsets is not None:
        bounds = field.offsets.tolist()
        return [[words[c] for c in field.values[bounds[i] : bounds[i + 1]].tolist()] for i in range(n)]
    return field.values.tolist()


def seen(graph: mg.RecGraph) -> dict[str, Any]:
    """All that a graph says, in external ids."""
    assert graph.users is not None and graph.items is not None and graph.residue is not None
    people, things = graph.users.values.to_pylist(), graph.items.values.to_pylist()
    found: dict[str, Any] = {"epoch": graph.epoch, "refused": graph.refused}
    clicks, has, contains = (graph.relation(name) for name in ("clicks", "has", "contains"))
    found["clicks"] = dict(zip(people, lists(clicks, things, graph.epoch), strict=True))
    sessions = lists(contains, things, graph.epoch)
    ids = [None] * len(sessions) if graph.residue.sessions is None else graph.residue.sessions.to_pylist()
    found["sessions"] = {
        user: [(sessions[s], ids[s], moment) for s, moment, _ in line]
        for user, line in zip(people, lists(has, [*range(len(sessions))], graph.epoch), strict=True)
    }
    for name in ("micros", "ordinal"):
        values = getattr(graph.residue, name)
        found[name] = values is not None and any(values.tolist()) and values[_by_user(graph)].tolist()
    for name in ("co_occurs", "similar"):
        if name in graph.relations:
            table = zip(things, lists(graph.relation(name), things, 0), strict=True)
            found[name] = {item: sorted(line) for item, line in table}
    for kind, names, fields, vocab in (
        ("item", things, graph.item_fields, graph.item_vocab),
        ("user", people, graph.user_fields, graph.user_vocab),
    ):
        values = {name: decoded(field, vocab.get(name), len(names)) for name, field in fields.items()}
        found[kind] = {n: {name: v[i] for name, v in values.items()} for i, n in enumerate(names)}
    found["titles"] = dict(zip(things, graph.titles(range(len(things))), strict=True))
    return found


def _by_user(graph: mg.RecGraph) -> list[int]:
    """Edges of clicks with the users in the order of their ids."""
    assert graph.users is not None
    bounds = graph.relation("clicks").indptr.tolist()
    order = sorted(range(graph.n_users), key=graph.users.values.to_pylist().__getitem__)
    return [edge for user in order for edge in range(bounds[user], bounds[user + 1])]


def brute_force(days: list[Day], top_k: int | None, max_pairs: int | None) -> tuple[Any, Any, Any]:
    """Clicks and sessions of each user, and counts, from plain loops over the events of all days."""
    first: dict[tuple[str, str, int], Event] = {}
    events = [
        (*e[:3], e[3] if columns != "none" else 0, e[4] if columns == "session" else None)
        for some, _, columns in days
        for e in some
    ]
    for e in sorted(events, key=lambda e: (e[2], e[3], e[4] is None, e[4])):
        first.setdefault((e[0], e[1], e[2] // 4), e)
    ordered = sorted(first.values(), key=lambda e: (e[2], e[3], e[1]))
    clicks: dict[str, list[Any]] = {}
    sessions: dict[str, list[list[Event]]] = {}
    for e in ordered:
        clicks.setdefault(e[0], []).append((e[1], START + e[2] // 4))
        mine = sessions.setdefault(e[0], [])
        open_ones = [s for s in mine if s[0][4] == e[4]][-1:]
        if open_ones and (e[4] is not None or e[2] - open_ones[0][0][2] <= 4 * HOUR):  # the span bounds the gap
            open_ones[0].append(e)
        else:
            mine.append([e])
    counts: dict[str, Counter[str]] = {e[1]: Counter() for e in ordered}
    for session in (s for mine in sessions.values() for s in mine):
        baskets = list(dict.fromkeys(e[1] for e in session))
        for reach in range(len(baskets), -1, -1):
            near = [(a, b) for i, a in enumerate(baskets) for j, b in enumerate(baskets) if 0 < abs(i - j) <= reach]
            if max_pairs is None or len(near) <= max_pairs:
                break
        for a, b in near:
            counts[a][b] += 1
    best = {a: sorted(sorted(c.items(), key=lambda pair: (-pair[1], pair[0]))[:top_k]) for a, c in counts.items()}
    return clicks, {u: [[e[1] for e in s] for s in mine] for u, mine in sessions.items()}, best


@settings(max_examples=15)
@given(
    st.lists(day, min_size=2, max_size=4),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, 2, 6]),
    st.booleans(),
    st.sampled_from(["auto", {"title": 3.0, "category": 1.0}]),
)
def test_appended_days_equal_one_build(
    tmp_path_factory: pytest.TempPathFactory,
    days: list[Day],
    top_k: int | None,
    max_pairs: int | None,
    keep_unclicked: bool,
    semantic: Any,
) -> None:
    titled = all(
        catalogue and any(r[1] for r in catalogue) and any(r[4] for r in catalogue) for _, catalogue, _ in days
    )
    config = {
        "co_occurs_top_k": top_k,
        "max_pairs_per_session": max_pairs,
        "keep_unclicked": keep_unclicked and days[0][1] is not None,
        "semantic": semantic if titled and keep_unclicked else "auto",
        "semantic_k": 2,
    }
    path = tmp_path_factory.mktemp("graph")
    graph = mg.build(read(*days[0]), config, path)
    for one in days[1:]:
        before, graph = graph, mg.append(path, read(*one)).validate()
        _numbers_stay(before, graph)
    found, expected = seen(graph), mg.build(all_at_once(days), config).validate()
    assert found == seen(expected)
    assert seen(mg.RecGraph.load(path)) == found
    clicks, sessions, counts = brute_force(days, top_k, max_pairs)
    assert {u: [e[:2] for e in line] for u, line in found["clicks"].items()} == clicks
    assert {u: [[e[0] for e in s] for s, _, _ in mine] for u, mine in found["sessions"].items()} == sessions
    assert {i: [e[:2] for e in line] for i, line in found["co_occurs"].items() if i in counts} == counts


def _numbers_stay(before: mg.RecGraph, after: mg.RecGraph) -> None:
    for old, new in ((before.users, after.users), (before.items, after.items)):
        assert old is not None and new is not None
        assert new.values[: len(old)].equals(old.values)
    for old_fields, new_fields, old_words, new_words in (
        (before.item_fields, after.item_fields, before.item_vocab, after.item_vocab),
        (before.user_fields, after.user_fields, before.user_vocab, after.user_vocab),
    ):
        for name, field in old_fields.items():
            if name in old_words and field.kind != "dense":
                assert new_words[name][: len(old_words[name])].equals(old_words[name])
        identity = next(iter(old_fields))
        known = old_fields[identity].values
        now = new_fields[identity].values
        assert all(a in (0, b) for a, b in zip(known.tolist(), now.tolist(), strict=False))
        codes = [c for c in now.tolist() if c]
        assert sorted(codes) == [*range(1, len(codes) + 1)] and new_fields[identity].size == len(codes) + 1


@pytest.mark.parametrize("gaps", [False, True])
def test_sessions_named_by_uuids_are_those_named_by_texts(tmp_path: Any, gaps: bool) -> None:
    def table(rows: range, kind: pa.DataType) -> pa.Table:
        ids = [None if gaps and n % 4 == 0 else uuid.UUID(int=n // 3) for n in rows]
        values = [None if one is None else one.bytes if kind == pa.uuid() else str(one) for one in ids]
        columns = {"user_id": [f"u{n // 6}" for n in rows], "item_id": [f"i{n % 5}" for n in rows]}
        return pa.table(
            {**columns, "timestamp": [1_709_287_200 + 40 * n for n in rows], "session_id": pa.array(values, kind)}
        )

    prints = set()
    for kind in (pa.uuid(), pa.string()):
        prints.add(mg.build(table(range(24), kind)).fingerprint())
        mg.build(table(range(10), kind), out=tmp_path / "graph")
        prints.add(mg.append(tmp_path / "graph", table(range(10, 24), kind)).fingerprint())
    assert len(prints) == 1
