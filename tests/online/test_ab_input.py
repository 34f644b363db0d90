"""What an A/B log may look like, what is refused and how, and how the result is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import micgraph
from micgraph.schema import ConfigError, InputError, MicgraphError, SchemaError

FEW: dict[str, Any] = {"control": "A", "resamples": 100}


def small() -> pd.DataFrame:
    """Users u0 ... u19, the odd ones in B, with clicks, likes and exposures."""
    rng = np.random.default_rng(0)
    user = np.sort(rng.integers(0, 20, 200))
    user[:20] = np.arange(20)
    event = rng.choice(["click", "like", "exposure"], 200)
    return pd.DataFrame(
        {
            "arm": np.where(user % 2, "B", "A"),
            "user_id": [f"u{n}" for n in user],
            "event": event,
            "duration": np.where(event == "click", rng.exponential(20, 200), np.nan),
            "channel": np.where(event == "exposure", rng.choice(["u2i", "u2i,i2i"], 200), None),
        }
    )


def changed(**values: Any) -> pd.DataFrame:
    return small().assign(**values)


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    log = small()
    log[:90].to_csv(tmp_path / "a.csv", index=False)
    log[90:].to_csv(tmp_path / "b.csv", index=False)
    log.to_parquet(tmp_path / "log.parquet")
    expected = micgraph.ab_test(log, **FEW)
    for source in (pl.from_pandas(log), pa.Table.from_pandas(log), tmp_path / "log.parquet", f"{tmp_path}/*.csv"):
        found = micgraph.ab_test(source, **FEW)
        assert [e[:2] for e in found.effects] == [e[:2] for e in expected.effects]
        for one, other in zip(found.effects, expected.effects, strict=True):
            assert one[2:] == pytest.approx(other[2:], nan_ok=True)
    assert isinstance(micgraph.ab_test(pl.from_pandas(log), **FEW).to_frame(), pl.DataFrame)
    assert isinstance(micgraph.ab_test(pa.Table.from_pandas(log), **FEW).to_frame(), pa.Table)
    assert isinstance(expected.to_frame(), pd.DataFrame)


def test_columns_may_have_other_names_and_values_other_types() -> None:
    expected = micgraph.ab_test(small(), **FEW)
    renamed = small().rename(columns={"user_id": "user"})
    assert micgraph.ab_test(renamed, **FEW).effects == expected.effects
    coded = small().rename(columns={"user_id": "uid", "arm": "group"})
    coded["group"], coded["event"] = coded["group"] == "B", coded["event"].map({"click": 1, "like": 2, "exposure": 0})
    found = micgraph.ab_test(
        coded,
        control=False,
        columns={"user_id": "uid", "arm": "group"},
        events={"click": 1, "like": [2], "exposure": 0},
        resamples=100,
    )
    assert found.control == "false"
    assert [e[1:] for e in found.effects] == [e[1:] for e in expected.effects]


def test_a_log_of_three_columns_has_the_metrics_of_three_columns() -> None:
    log = small()[["arm", "user_id", "event"]]
    found = micgraph.ab_test(log, **FEW)
    assert [effect.metric for effect in found.effects] == ["ACC", "ALR"]
    assert found.left_out == {
        "ADT": "no column duration",
        "AFR": "no event 'follow'",
        "videos per user": "no column item_id",
        "play percentage": "no column duration or video_length",
        "EPV ratio": "no column channel",
        "ACC-c": "no history",
        "ALR-c": "no history",
    }


def test_rows_without_arm_user_or_event_are_refused_and_counted_by_arm() -> None:
    log = small()
    log.loc[[0, 1, 2, 3, 4], "event"] = None
    log.loc[[5, 6], "user_id"] = None
    log.loc[[7], "arm"] = None
    found = micgraph.ab_test(log, **FEW)
    assert found.refused == {"null arm": {"": 1}, "null event": {"A": 3, "B": 2}, "null user_id": {"A": 1, "B": 1}}
    assert "refused: null event: A 3, B 2" in str(found) and "refused: null arm: no arm 1" in str(found)


def test_a_metric_that_an_arm_has_nothing_for_is_left_out() -> None:
    log = small()
    found = micgraph.ab_test(log[(log["arm"] == "A") | (log["event"] != "exposure")], **FEW)
    assert {effect.metric for effect in found.effects} == {"ACC", "ADT", "ALR"}
    assert found.left_out["EPV ratio i2i"] == "fewer than 1 exposures in 'B'"
    history = pd.DataFrame({"user_id": [f"u{n}" for n in range(1, 20, 2) for _ in range(5)]})
    found = micgraph.ab_test(log, history=history, **FEW)
    assert found.cold == {"A": 10, "B": 0}
    assert found.left_out["ACC-c"] == "fewer than 2 cold users in 'B'"


BAD: dict[str, tuple[Any, dict[str, Any], type[MicgraphError], str]] = {
    "no arm": (small().drop(columns="arm"), {}, SchemaError, "log: expected a column 'arm'"),
    "no user": (small().drop(columns="user_id"), {}, SchemaError, "log: expected a column 'user_id'"),
    "misspelt": (small(), {"columns": {"usr_id": "user_id"}}, SchemaError, "did you mean 'user_id'"),
    "not there": (small(), {"columns": {"duration": "chanel"}}, SchemaError, "did you mean 'channel'"),
    "one arm": (changed(arm="A"), {}, InputError, "two or more arms, got only 'A'"),
    "control": (small(), {"control": "C"}, InputError, "one of the arms 'A', 'B', got 'C'"),
    "event": (changed(event="clik"), {}, InputError, r"got 'clik' \(200 rows\); say in events="),
    "role": (small(), {"events": {"likes": "like"}}, InputError, "did you mean 'like'"),
    "nothing": (changed(event="exposure", channel=None, duration=None), {}, InputError, "ACC: no event 'click'"),
    "no rows": (small()[:0], {}, InputError, "at least one usable row, got no rows"),
    "text": (changed(duration="long"), {}, SchemaError, "log.duration: expected numbers"),
    "channels": (changed(channel=range(200)), {}, InputError, "at most 50 channels"),
    "kinds": (small(), {"history": pd.DataFrame({"user_id": [1]})}, SchemaError, "text ids as in the log"),
    "strangers": (small(), {"history": pd.DataFrame({"user_id": ["x"]})}, InputError, "got no such user"),
    "history": (small(), {"history": pd.DataFrame({"item_id": ["x"]})}, SchemaError, "history: expected a column"),
    "file": ("nowhere.parquet", {}, InputError, "log: expected an existing file"),
    "level": (small(), {"level": 1.0}, ConfigError, "level"),
    "resamples": (small(), {"resamples": 10}, ConfigError, "resamples"),
    "cold": (small(), {"cold_below": 0}, ConfigError, "cold_below"),
    "cold, whole": (small(), {"cold_below": 2.5}, ConfigError, "cold_below: expected an integer"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_an_error_that_says_what_to_do(name: str) -> None:
    log, how, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        micgraph.ab_test(log, **{**FEW, **how})


def test_users_in_two_arms_are_named() -> None:
    log = small()
    seven = log["user_id"].isin([f"u{n}" for n in range(7)])
    moved = log[seven].drop_duplicates("user_id").assign(arm="C")
    named = r"'u0' \(A and C\), 'u1' \(B and C\), 'u2' .*, 'u4' \(A and C\) and 2 more; repair"
    with pytest.raises(InputError, match=named):
        micgraph.ab_test(pd.concat([log, moved]), **FEW)
    unusable = log[:1].assign(arm="B", duration=-1.0)  # it tells it too
    with pytest.raises(InputError, match=r"every user in one arm, got users in two: 'u0' \(A and B\);"):
        micgraph.ab_test(pd.concat([log, unusable]), **FEW)


def test_arms_without_users_are_named() -> None:
    log = small()
    log.loc[log["arm"] == "B", "duration"] = -1.0
    with pytest.raises(InputError, match=r"usable rows of every arm, got none of 'B' \(duration < 0: "):
        micgraph.ab_test(log, **FEW)
    lonely = pd.concat([small(), pd.DataFrame({"arm": ["C"], "user_id": ["u99"], "event": ["click"]})])
    with pytest.raises(InputError, match="2 or more users in every arm, got 1 in 'C'"):
        micgraph.ab_test(lonely, **FEW)


def test_the_result_is_one_screen_and_json() -> None:
    found = micgraph.ab_test(small(), history=pd.DataFrame({"user_id": ["u0"] * 9}), **FEW)
    lines = str(found).splitlines()
    assert lines[0] == "A/B test over users: A 10, B 10"
    assert " ".join(lines[1].split()) == "B against A A B difference low high relative p p (Holm)"
    assert len(lines) < 24 and max(map(len, lines)) < 120
    read = json.loads(found.json())
    assert [effect["metric"] for effect in read["effects"]] == [effect.metric for effect in found.effects]
    assert read["effects"][0]["p"] == found.effects[0].p and read["cold"] == {"A": 9, "B": 10}
    with pytest.raises(InputError, match="it is left out: no event 'follow'"):
        found.effect("AFR")
    with pytest.raises(InputError, match="one of 'B'"):
        found.effect("ACC", "A")


def test_effects_that_are_not_finite_are_null_in_json() -> None:
    log = pd.DataFrame({"arm": list("AABB"), "user_id": range(4), "event": "click"})
    log = pd.concat([log, log[log["arm"] == "B"]])
    effect = micgraph.ab_test(log, **FEW).effect("ACC")
    assert (effect.difference, effect.p, effect.t) == (1.0, 0.0, np.inf)
    (read,) = json.loads(micgraph.ab_test(log, **FEW).json())["effects"]
    assert read["t"] is None and read["df"] is None
