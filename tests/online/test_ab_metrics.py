"""Every metric, test and count of an A/B log against plain loops over its rows, written from the formulas."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import micgraph

Row = dict[str, Any]
NAN, INF = float("nan"), float("inf")
COLUMNS = {
    "arm": pa.string(),
    "user_id": pa.int64(),
    "event": pa.string(),
    "item_id": pa.int64(),
    "duration": pa.float64(),
    "video_length": pa.float64(),
    "channel": pa.string(),
}
EVENTS = {"click": ["click", "read"], "view": "play", "other": ["share"]}


def table(rows: list[Row]) -> pa.Table:
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in COLUMNS.items()})


def row(user: int, event: str = "click", **more: Any) -> Row:
    """A row of user n, who is in arm A, B or B as n is 0, 1 or 2 modulo 3."""
    blank = dict.fromkeys(COLUMNS)
    return {**blank, "arm": "ABB"[user % 3], "user_id": user, "event": event, **more}


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    """Rows of 12 users, some to be refused, after one good row of each event and column in both arms."""
    event = st.sampled_from(["click", "read", "like", "follow", "exposure", "play", "share"])
    duration = st.sampled_from([None, 0.0, 1.5, 30.0, 60.0, 90.0, -1.0, NAN, INF])
    row_of = st.builds(
        row,
        st.integers(0, 11),
        event,
        item_id=st.sampled_from([None, 1, 2, 3]),
        duration=duration,
        video_length=st.sampled_from([None, 0.0, -5.0, NAN, 40.0, 60.0]),
        channel=st.sampled_from([None, "", "u2i", "u2i,i2i", "u2u, u2i"]),
    )
    rows = draw(st.lists(row_of, max_size=60))
    for user in (0, 1, 3, 4):
        rows += [row(user, name, item_id=1, duration=20.0, video_length=40.0, channel="u2i") for name in COMMON]
    return rows


COMMON = ("click", "like", "follow", "exposure", "play")


def refused(rows: list[Row]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in rows:
        reason = _why(one)
        if reason:
            counts[reason][one["arm"]] += 1
    return {reason: dict(arms) for reason, arms in counts.items()}


def _why(one: Row) -> str:
    duration = one["duration"]
    if duration is None or (math.isfinite(duration) and duration >= 0):
        return ""
    return "duration < 0" if math.isfinite(duration) else "duration that is no finite number"


def played(one: Row) -> float | None:
    length = one["video_length"]
    usable = one["event"] == "play" and one["duration"] is not None and length is not None and length > 0
    return min(one["duration"] / length, 1.0) if usable else None


def pairs(rows: list[Row], metric: str) -> dict[int, tuple[float, float]]:
    """User -> what the metric adds up and what it divides by, of one arm's usable rows."""
    found: dict[int, tuple[float, float]] = {}
    for user in sorted({one["user_id"] for one in rows}):
        own = [one for one in rows if one["user_id"] == user]
        if metric == "ACC":
            found[user] = (sum(one["event"] in ("click", "read") for one in own), 1)
        elif metric == "ADT":
            found[user] = (sum(one["duration"] or 0.0 for one in own), 1)
        elif metric in ("ALR", "AFR"):
            found[user] = (sum(one["event"] == {"ALR": "like", "AFR": "follow"}[metric] for one in own), 1)
        elif metric == "videos per user":
            found[user] = (len({one["item_id"] for one in own if one["event"] == "play"} - {None}), 1)
        elif metric == "play percentage":
            shares = [share for share in map(played, own) if share is not None]
            found[user] = (sum(shares), len(shares))
        else:
            shown = [one["channel"] or "" for one in own if one["event"] == "exposure"]
            name = metric.removeprefix("EPV ratio ")
            found[user] = (sum(name in [part.strip() for part in label.split(",")] for label in shown), len(shown))
    return found


def welch(a: dict[int, tuple[float, float]], b: dict[int, tuple[float, float]]) -> tuple[float, float, float]:
    """The two quotients and Welch's p over users; of a quotient by the delta method, as in a textbook."""
    means, errors, sizes = [], [], []
    for side in (a.values(), b.values()):
        n = len(side)
        top, below = sum(x for x, _ in side) / n, sum(y for _, y in side) / n
        ratio = top / below
        residuals = [(x - ratio * y) / below for x, y in side]
        means.append(ratio)
        errors.append(sum(r * r for r in residuals) / (n - 1) / n)
        sizes.append(n)
    if sum(errors) < 1e-20:
        return means[0], means[1], float(abs(means[0] - means[1]) < 1e-9)
    df = sum(errors) ** 2 / sum(e * e / (n - 1) for e, n in zip(errors, sizes, strict=True))
    return means[0], means[1], float(2 * stats.t.sf(abs(means[0] - means[1]) / sum(errors) ** 0.5, df))


@settings(max_examples=25)
@given(logs(), st.dictionaries(st.integers(0, 14), st.integers(0, 8), min_size=1), st.randoms(use_true_random=False))
def test_every_metric_is_its_formula(rows: list[Row], clicked: dict[int, int], rng: random.Random) -> None:
    rng.shuffle(rows)
    clicked |= {0: 1, 3: 0, 1: 2, 4: 4}  # two cold users in either arm
    history = pa.table({"user_id": [user for user, n in clicked.items() for _ in range(n)]})
    found = micgraph.ab_test(table(rows), control="A", events=EVENTS, history=history, resamples=100)
    good = [one for one in rows if not _why(one)]
    assert found.refused == refused(rows)
    users = {arm: {one["user_id"] for one in good if one["arm"] == arm} for arm in "AB"}
    assert found.users == {arm: len(ids) for arm, ids in users.items()}
    cold = {user for user in range(12) if clicked.get(user, 0) < 5}
    assert found.cold == {arm: len(ids & cold) for arm, ids in users.items()}
    for effect in found.effects:
        name = effect.metric.removesuffix("-c")
        among = [one for one in good if name == effect.metric or one["user_id"] in cold]
        sides = [pairs([one for one in among if one["arm"] == arm], name) for arm in "BA"]
        value, control, p = welch(*sides)
        assert (effect.value, effect.control) == pytest.approx((value, control)), effect.metric
        assert effect.difference == pytest.approx(value - control, abs=1e-9)
        assert effect.p == pytest.approx(p, abs=1e-6), effect.metric
        assert effect.low <= effect.high
        assert effect.relative == (pytest.approx(effect.difference / control) if control else None)
    names = [effect.metric for effect in found.effects]
    assert names[:6] == ["ACC", "ADT", "ALR", "AFR", "videos per user", "play percentage"]
    assert names[6:10] == ["ACC-c", "ADT-c", "ALR-c", "AFR-c"]
    shown = {part.strip() for one in good if one["event"] == "exposure" for part in (one["channel"] or "").split(",")}
    assert names[10:] == [f"EPV ratio {name}" for name in sorted(shown - {""})]


@settings(max_examples=10)
@given(logs())
def test_rows_that_count_for_some_metrics_only_are_counted(rows: list[Row]) -> None:
    good = [one for one in rows if not _why(one)]
    views = [one for one in good if one["event"] == "play"]
    whole = [one for one in views if played(one) is not None]
    expected = {
        "views without a duration or a video_length above 0": len(views) - len(whole),
        "views longer than their video, counted as whole": sum(o["duration"] > o["video_length"] for o in whole),
        "views without an item_id, no video of their user": sum(one["item_id"] is None for one in views),
        "exposures without a channel": sum(o["event"] == "exposure" and not o["channel"] for o in good),
    }
    found = micgraph.ab_test(table(rows), control="A", events=EVENTS, resamples=100)
    assert found.counts == {name: count for name, count in expected.items() if count}
    assert set(found.left_out.values()) == {"no history"}


def test_holm_is_over_all_metrics_and_arms() -> None:
    rng = random.Random(1)
    rows = [row(user) for user in range(60) for _ in range(rng.randrange(6))]
    rows += [row(user, "like") for user in range(60) for _ in range(rng.randrange(1 + user % 3))]
    rows += [row(user, "exposure") for user in range(60)]
    for one in rows:
        one["arm"] = "ABC"[one["user_id"] % 3]
    found = micgraph.ab_test(table(rows), control="B", resamples=100)
    assert [(e.arm, e.metric) for e in found.effects] == [(arm, name) for arm in "AC" for name in ("ACC", "ALR")]
    p = [effect.p for effect in found.effects]
    assert min(p) < 0.01
    for effect in found.effects:
        adjusted = max(min((len(p) - sorted(p).index(q)) * q, 1) for q in p if q <= effect.p)
        assert effect.p_holm == pytest.approx(adjusted)


def cold_log() -> list[Row]:
    return [row(user) for user in range(12) for _ in range(user + 1)]


def test_cold_users_have_fewer_clicks_before() -> None:
    clicked = {0: 5, 3: 4, 6: 3, 9: 6, 1: 4, 2: 5, 4: 1}  # the others are new
    history = pa.table({"user": [user for user, n in clicked.items() for _ in range(n)]})
    found = micgraph.ab_test(table(cold_log()), "A", history=history, resamples=100)
    assert found.cold == {"A": 2, "B": 7}
    assert found.effect("ACC-c").control == pytest.approx((4 + 7) / 2)
    assert found.effect("ACC-c").value == pytest.approx((2 + 5 + 6 + 8 + 9 + 11 + 12) / 7)
    assert micgraph.ab_test(table(cold_log()), "A", history=history, cold_below=6, resamples=100).cold == {
        "A": 3,
        "B": 8,
    }


def test_a_history_may_have_events_or_be_a_log() -> None:
    users = [user for user in range(12) for _ in range(user)]
    clicks = pa.table({"user_id": users, "item_id": list(range(len(users))), "timestamp": [10**9] * len(users)})
    named = clicks.append_column("event", pa.array(["read"] * len(users)))
    passed = pa.table({**{name: clicks[name] for name in clicks.column_names}, "event": ["exposure"] * len(users)})
    from_log = micgraph.ab_test(table(cold_log()), "A", history=micgraph.read_log(clicks), resamples=100)
    events = {"click": ["click", "read"]}
    both = pa.concat_tables([named, passed])
    from_table = micgraph.ab_test(table(cold_log()), "A", events=events, history=both, resamples=100)
    assert from_log.cold == from_table.cold == {"A": 2, "B": 3}
    assert from_log.effects == from_table.effects
