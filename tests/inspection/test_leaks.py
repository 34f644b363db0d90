"""What a graph knows of held-out clicks, against loops over both logs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import micgraph as mg
from micgraph.inspection.leaks import Leaks, leaks
from micgraph.schema import ArtifactError, InputError

T0 = 1_700_000_000
Click = tuple[str, int, int]
CLICKS = st.sets(st.tuples(st.sampled_from("abcd"), st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=12)


def _log(clicks: Iterable[Click]) -> mg.Log:
    rows = sorted(clicks)
    table = {
        "user_id": [user for user, _, _ in rows],
        "item_id": [item for _, item, _ in rows],
        "timestamp": [T0 + time for _, _, time in rows],
    }
    return mg.read_log(pa.table(table))


def _holdout(clicks: Iterable[Click], kind: str = "temporal") -> mg.Holdout:
    log = _log(clicks)
    return mg.Holdout(log, log, {"kind": kind, "part": "test", "split": "x"})


@settings(max_examples=15)
@given(CLICKS, CLICKS, st.sampled_from(["temporal", "user_holdout"]))
def test_counts_are_those_of_loops(built: set[Click], held: set[Click], kind: str) -> None:
    found = leaks(mg.build(_log(built), {"semantic": []}), _holdout(held, kind))
    users, items = {user for user, _, _ in built}, {item for _, item, _ in built}
    first = min(time for _, _, time in held)
    own = {user: min(t for u, _, t in held if u == user) for user, _, _ in held}
    shared = sorted((user, time, item) for user, item, time in held & built)
    assert found.clicks == len(held) and found.graph_clicks == len(built)
    assert found.in_graph == len(shared)
    assert found.examples == tuple((user, item, T0 + time) for user, time, item in shared[:5])
    assert found.repeats == sum((user, item) in {click[:2] for click in built} for user, item, _ in held)
    assert (found.users, found.unknown_users) == (len(own), len(own.keys() - users))
    targets = [item for _, item, _ in held]
    assert (found.items, found.unknown_items) == (len(set(targets)), len(set(targets) - items))
    assert found.on_unknown == sum(item not in items for item in targets)
    assert found.first == T0 + first
    later = sum(time > first for _, _, time in built)
    assert found.later == later
    mine = sum(user in own and time > own[user] for user, _, time in built)
    assert found.later_same_user == mine
    assert found.leaking == bool(shared or mine or (kind == "temporal" and later))
    assert sorted(found.seconds.tolist()) == sorted(T0 + time for _, _, time in held)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("temporal", {"test": "2d"}), ("leave_last_out", {}), ("user_holdout", {"min_item": 1, "min_user": 3})],
)
def test_a_split_does_not_leak_and_the_whole_log_does(kind: Any, settings: dict[str, Any], tiny_log: Any) -> None:
    log = mg.read_log(tiny_log.clicks)
    parts = mg.split(log, kind, **settings)
    clean, spoilt = mg.build(parts.train, {"semantic": []}), mg.build(log, {"semantic": []})
    for part in (parts.test, parts.valid):
        assert part is not None
        found = leaks(clean, part)
        assert (found.leaking, found.same_split, found.in_graph) == (False, True, 0)
        assert found.kind == kind and found.part == part.manifest["part"]
        found = leaks(spoilt, part)
        assert (found.leaking, found.same_split) == (True, None)
        assert found.in_graph == found.clicks == len(part.targets)
    if kind == "user_holdout":
        found = leaks(clean, parts.test)
        assert found.unknown_users == found.users and found.later > 0


def test_another_split_is_named_and_a_saved_part_is_the_same(tiny_log: Any, tmp_path: Path) -> None:
    log = mg.read_log(tiny_log.clicks)
    parts, others = mg.split(log, "temporal", test="2d"), mg.split(log, "temporal", test="1d")
    graph = mg.build(parts.train, {"semantic": []})
    assert leaks(graph, others.test).same_split is False
    parts.test.save(tmp_path / "test")
    here, there = leaks(graph, parts.test), leaks(graph, tmp_path / "test")
    assert {**vars(here), "seconds": 0} == {**vars(there), "seconds": 0}
    assert here.seconds.tolist() == there.seconds.tolist()


def test_what_is_no_holdout_is_refused(tiny_log: Any, tmp_path: Path) -> None:
    parts = mg.split(mg.read_log(tiny_log.clicks), "temporal", test="2d")
    graph = mg.build(parts.train, {"semantic": []})
    with pytest.raises(InputError, match=r"holdout: .*, got a Split; pass split.test or split.valid"):
        leaks(graph, parts)
    with pytest.raises(ArtifactError, match="nowhere"):
        leaks(graph, tmp_path / "nowhere")
    graph.users = None
    with pytest.raises(InputError, match="external ids"):
        leaks(graph, parts.test)


def test_far_times_do_not_overflow() -> None:
    """A held-out part decades before or after a graph whose times are 32 bits wide."""
    graph = mg.build(_log([("a", 1, 0), ("a", 2, 5)]), {"semantic": []})
    for shift, later in ((-T0, 2), (2**32, 0)):
        found: Leaks = leaks(graph, _holdout([("a", 1, shift)]))
        assert (found.in_graph, found.repeats, found.later, found.later_same_user) == (0, 1, later, later)
