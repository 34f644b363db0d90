"""What a split holds out is not in training, exactly; boundaries are where the protocol says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph import datasets
from micgraph.graph.events import Log, read_log
from micgraph.graph.split import Holdout, Split, split
from micgraph.schema import ConfigError, InputError

ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(0, 40), st.integers(0, 2)), min_size=1)


def make_log(rows: list[tuple]) -> Log:
    """Rows are (user, item, quarter of a second, ordinal)."""
    users, items, quarters, ordinals = zip(*rows, strict=True)
    times = [q / 4 for q in quarters]
    return read_log(
        pa.table({"user_id": users, "item_id": items, "timestamp": times, "ordinal": ordinals}), time_unit="s"
    )


def events(log: Log) -> list[tuple]:
    """(user, item, timestamp in microseconds, ordinal), ordered within users."""
    return [(r["user_id"], r["item_id"], r["timestamp"], r["ordinal"]) for r in log.arrow().to_pylist()]


def users(log: Log) -> set:
    return {event[0] for event in events(log)}


def edges(log: Log) -> set:
    """What a graph would keep of the events."""
    return {(user, item, time // 1_000_000) for user, item, time, _ in events(log)}


def holdouts(parts: Split) -> list[Holdout]:
    return [part for part in (parts.valid, parts.test) if part is not None]


KINDS = {
    "temporal": {"test": "2s", "valid": "1s"},
    "user_holdout": {"min_item": 1, "min_user": 2, "fractions": (0.4, 0.3, 0.3), "seed": 3},
    "leave_last_out": {},
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12)
@given(rows=ROWS)
def test_nothing_held_out_is_in_training(kind: str, rows: list[tuple]) -> None:
    log = make_log(rows)
    try:
        parts = split(log, kind, **KINDS[kind])
    except InputError:  # too little for every part to have events
        return
    train, test = edges(parts.train), edges(parts.test.targets)
    valid = edges(parts.valid.targets) if parts.valid else set()
    assert not train & test and not train & valid and not valid & test
    for part in holdouts(parts):
        assert not edges(part.histories) & edges(part.targets)
        assert users(part.histories) <= users(part.targets)
        if kind == "user_holdout":
            assert not users(part.targets) & users(parts.train)
    held = [*events(parts.test.histories)] if kind == "user_holdout" else []
    held += [*events(parts.valid.histories)] if kind == "user_holdout" and parts.valid else []
    everything = Counter(events(parts.train)) + Counter(held)
    for part in holdouts(parts):
        everything += Counter(events(part.targets))
    assert not everything - Counter(events(log))
    assert sum(everything.values()) + sum(parts.dropped.values()) == len(log)


def test_temporal_windows_are_half_open() -> None:
    second = 4
    rows = [(1, item, item * second, 0) for item in range(10)] + [(2, 0, 6 * second, 0), (3, 1, 0, 0)]
    parts = split(make_log(rows), "temporal", cut=6, test="2s", valid="1s")
    assert {(u, i) for u, i, _, _ in events(parts.test.targets)} == {(1, 6), (1, 7), (2, 0)}
    assert {(u, i) for u, i, _, _ in events(parts.test.histories)} == {(1, i) for i in range(6)}
    assert {(u, i) for u, i, _, _ in events(parts.valid.targets)} == {(1, 5)}
    assert {(u, i) for u, i, _, _ in events(parts.valid.histories)} == {(1, i) for i in range(5)}
    assert {(u, i) for u, i, _, _ in events(parts.train)} == {(1, i) for i in range(5)} | {(3, 1)}
    assert parts.dropped == {"after the test window": 2}
    assert "2 (after the test window)" in repr(parts)
    assert "_us" not in repr(parts)


def test_temporal_without_a_cut_ends_with_the_last_second() -> None:
    parts = split(make_log([(1, i, 4 * i + 3, 0) for i in range(10)]), "temporal", test="2s", valid=None)
    assert [i for _, i, _, _ in events(parts.test.targets)] == [8, 9]
    assert parts.valid is None and parts.dropped == {} and len(parts.train) == 8
    automatic = split(make_log([(1, i, 4 * i, 0) for i in range(10)]), "temporal", test="2s")
    assert [i for _, i, _, _ in events(automatic.valid.targets)] == [6, 7] and len(automatic.train) == 6


@settings(max_examples=12)
@given(rows=ROWS, seed=st.integers(0, 5))
def test_user_holdout_follows_the_protocol(rows: list[tuple], seed: int) -> None:
    log, minimum = make_log(rows), 3
    kept = [e for e in events(log) if Counter(x[1] for x in events(log))[e[1]] >= minimum]
    frequent = Counter(e[0] for e in kept)
    by_user = {u: [e for e in kept if e[0] == u] for u in sorted(frequent) if frequent[u] >= minimum}
    shuffled = np.array(sorted(by_user))
    np.random.default_rng(seed).shuffle(shuffled)
    first, second = int(0.6 * len(shuffled) + 1e-9), int(0.8 * len(shuffled) + 1e-9)
    if not first or second == len(shuffled) or first == second:
        return
    params = {"seed": seed, "fractions": (0.6, 0.2, 0.2), "min_item": minimum, "min_user": minimum}
    parts = split(log, "user_holdout", **params)
    assert users(parts.train) == set(shuffled[:first].tolist())
    assert users(parts.valid.targets) == set(shuffled[first:second].tolist())
    assert users(parts.test.targets) == set(shuffled[second:].tolist())
    for user in shuffled[second:].tolist():
        size = int(0.8 * len(by_user[user]) + 1e-9)
        assert [e for e in events(parts.test.histories) if e[0] == user] == by_user[user][:size]
        assert [e for e in events(parts.test.targets) if e[0] == user] == by_user[user][size:]


@settings(max_examples=12)
@given(rows=ROWS)
def test_leave_last_out_follows_the_protocol(rows: list[tuple]) -> None:
    log = make_log(rows)
    by_user = {u: [e for e in events(log) if e[0] == u] for u in users(log)}
    if max(map(len, by_user.values())) < 3:
        with pytest.raises(InputError, match="events in the test part"):
            split(log, "leave_last_out")
        return
    parts = split(log, "leave_last_out")
    cut = {u: len(own) - 2 if len(own) >= 3 else len(own) for u, own in by_user.items()}
    assert events(parts.train) == [e for u in sorted(by_user) for e in by_user[u][: cut[u]]]
    assert events(parts.valid.targets) == [by_user[u][-2] for u in sorted(by_user) if len(by_user[u]) >= 3]
    assert events(parts.test.targets) == [by_user[u][-1] for u in sorted(by_user) if len(by_user[u]) >= 3]
    long = [u for u in sorted(by_user) if len(by_user[u]) >= 3]
    assert events(parts.test.histories) == [e for u in long for e in by_user[u][:-1]]
    assert events(parts.valid.histories) == [e for u in long for e in by_user[u][:-2]]


def test_the_manifest_tells_kind_parameters_and_content() -> None:
    rows = [(u, i, 4 * (u + i), 0) for u in range(10) for i in range(6)]
    one, same = split(make_log(rows), "user_holdout"), split(make_log(rows[::-1]), "user_holdout")
    assert one.manifest == same.manifest and events(one.train) == events(same.train)
    assert one.train.manifest == {**one.manifest, "part": "train"}
    assert one.test.manifest == one.test.targets.manifest == {**one.manifest, "part": "test"}
    assert one.manifest["kind"] == "user_holdout" and one.manifest["params"]["seed"] == 1230
    others = [split(make_log(rows), "user_holdout", seed=1), split(make_log(rows[1:]), "user_holdout", min_item=1)]
    assert len({one.manifest["split"], *(other.manifest["split"] for other in others)}) == 3


@pytest.mark.parametrize(
    ("kind", "params", "match"),
    [
        ("random", {}, "user_holdout"),
        ("leave_last_out", {"seed": 1}, "seed: expected parameters of leave_last_out"),
        ("user_holdout", {"fractions": (0.9, 0.2, 0.1)}, "sum to 1"),
        ("user_holdout", {"fractions": 0.8}, "fractions: expected three shares"),
        ("user_holdout", {"fractions": (0.8, "0.1", 0.1)}, "fractions: expected three shares"),
        ("user_holdout", {"fractions": (0.9, 0.2, -0.1)}, "fractions: expected three shares"),
        ("user_holdout", {"history": 1.0}, "history"),
        ("user_holdout", {"history": "a"}, "history: expected a share"),
        ("user_holdout", {"history": None}, "history: expected a share"),
        ("user_holdout", {"min_item": "a"}, "min_item: expected an integer"),
        ("user_holdout", {"min_user": 2.5}, "min_user: expected an integer"),
        (["temporal"], {}, "kind: expected one of"),
        ("temporal", {"test": 2}, "test: expected a length of time"),
        ("temporal", {"cut": [1]}, "cut: expected a point in time"),
        ("temporal", {"test": "soon"}, "test: expected a length of time"),
        ("temporal", {"cut": "noon"}, "cut: expected a point in time"),
        ("temporal", {"cut": "2031-01-01"}, "events in the test part"),
        ("temporal", {"cut": 1, "test": "30s", "valid": "1d"}, "events in the train part"),
    ],
)
def test_bad_parameters_are_named(kind: str, params: dict, match: str) -> None:
    with pytest.raises((ConfigError, InputError), match=match):
        split(make_log([(1, i, 4 * i, 0) for i in range(9)]), kind, **params)


def test_what_is_no_log_is_refused() -> None:
    with pytest.raises(InputError, match=r"log: expected a Log, got Table; .*micgraph.read_log"):
        split(pa.table({"user_id": [1], "item_id": [2], "timestamp": [3]}), "temporal")  # type: ignore[arg-type]


def test_movielens_holds_out_604_users(shared_data: Path) -> None:
    parts = split(datasets.movielens_1m(shared_data / "ml-1m"), "user_holdout", seed=1230)
    assert parts.test.targets.scalar("SELECT count(DISTINCT user_id) FROM {events}") == 604
    assert len(parts.test.targets) == 20_828 and parts.dropped == {"items with fewer than 5 events": 598}


def test_globo_window_has_the_known_clicks(shared_data: Path) -> None:
    log = datasets.globo(shared_data / "globo")
    parts = split(log, "temporal", cut="2017-10-16 12:00", test="12h", valid=None)
    assert len(parts.test.targets) == 129_105
    trained = f"SELECT avg(CAST(item_id IN (SELECT item_id FROM {parts.train.table}) AS INTEGER)) FROM {{events}}"
    assert parts.test.targets.scalar(trained) == pytest.approx(0.835, abs=5e-4)
    assert len(parts.train) + 129_105 + parts.dropped["after the test window"] == len(log) == 2_988_181
