"""A/A tests find nothing more often than they say, a planted effect is found, and intervals are over users."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import micgraph

N_ARMS, PER_ARM, CONTROL = 150, 100, 8_000


def many_arms(seed: int) -> pd.DataFrame:
    """One log of a control arm and 150 small ones that do not differ; users differ a lot, in all that they do.

    The control is so large that tests of different arms against it are all but independent.
    """
    rng = np.random.default_rng(seed)
    arm = np.concatenate([np.repeat("control", CONTROL), np.repeat([f"a{n}" for n in range(N_ARMS)], PER_ARM)])
    taste, share = rng.beta(0.6, 0.6, len(arm)), rng.beta(0.5, 0.5, len(arm))
    user = np.repeat(np.arange(len(arm)), 1 + rng.geometric(0.2, len(arm)))
    exposed = rng.random(len(user)) < 0.5
    long = np.clip(taste[user] + rng.normal(0, 0.1, len(user)), 0, 1)
    return pd.DataFrame(
        {
            "arm": arm[user],
            "user_id": user,
            "event": np.where(exposed, "exposure", "click"),
            "duration": np.where(exposed, np.nan, 60 * long),
            "video_length": 60.0,
            "channel": np.where(rng.random(len(user)) < share[user], "u2i", "u2u"),
        }
    )


@pytest.fixture(scope="module")
def alike() -> pd.DataFrame:
    return many_arms(3)


def per_event(values: pd.Series, arm: pd.Series) -> float:
    """The share of p < 0.05 of tests that take rows for independent, as a careless one would."""
    control = values[arm == "control"].to_numpy(dtype=float)
    groups = values[arm != "control"].groupby(arm).apply(lambda side: side.to_numpy(dtype=float))
    return float(np.mean([stats.ttest_ind(side, control, equal_var=False).pvalue < 0.05 for side in groups]))


def test_arms_that_do_not_differ_have_small_p_values_as_often_as_chance_has_it(alike: pd.DataFrame) -> None:
    found = micgraph.ab_test(alike, resamples=100).to_frame()
    for metric, p in found.groupby("metric")["p"]:
        assert len(p) == N_ARMS
        assert 0.01 <= (p < 0.05).mean() <= 0.10, metric  # 0.05 is expected, the standard deviation is 0.018
        assert 0.4 <= p.mean() <= 0.6, metric  # 0.024
    clicks, shown = alike[alike["event"] == "click"], alike[alike["event"] == "exposure"]
    assert per_event(clicks["duration"] / 60, clicks["arm"]) > 0.25, "the log tells tests over users from others"
    assert per_event(shown["channel"] == "u2i", shown["arm"]) > 0.15


def test_intervals_are_those_of_the_normal_approximation_over_users(alike: pd.DataFrame) -> None:
    two = alike[alike["arm"].isin(["control"]) | (alike["user_id"] % 3 == 0)].copy()
    two["arm"] = np.where(two["arm"] == "control", "control", "b")
    found = micgraph.ab_test(two, resamples=3_000, level=0.9)
    for effect in found.effects:
        error = abs(effect.difference / effect.t)
        assert effect.low == pytest.approx(effect.difference - 1.645 * error, abs=0.12 * error), effect.metric
        assert effect.high == pytest.approx(effect.difference + 1.645 * error, abs=0.12 * error), effect.metric
    other = micgraph.ab_test(two.sample(frac=1, random_state=0), resamples=3_000, level=0.9)
    assert [e.low for e in other.effects] == pytest.approx([e.low for e in found.effects]), "whatever the order of rows"
    assert micgraph.ab_test(two, resamples=3_000, level=0.9, seed=1).effects[0].low != found.effects[0].low


def test_a_planted_effect_is_found() -> None:
    """B, a third of the users, brings a fifth more clicks, cold users twice as many, and as many likes as before."""
    rng, n = np.random.default_rng(0), 6_000
    treated, cold = np.arange(n) % 3 == 0, np.arange(n) % 5 == 0
    clicks = rng.poisson(4.0 * np.where(treated, np.where(cold, 2.0, 1.2), 1.0))
    rows = {"click": clicks, "like": rng.poisson(1.0, n), "exposure": np.full(n, 6)}
    log = pd.concat([pd.DataFrame({"user_id": np.repeat(np.arange(n), k), "event": e}) for e, k in rows.items()])
    log["arm"] = np.where(treated[log["user_id"]], "B", "A")
    log["channel"] = np.where(log["event"] == "exposure", np.where(log["arm"] == "B", "mic", "hot"), None)
    history = pd.DataFrame({"user_id": np.repeat(np.arange(n), np.where(cold, 1, 9))})
    found = micgraph.ab_test(log, "A", history=history)
    assert found.users == {"A": 4_000, "B": 2_000}
    everybody = 4.0 * (0.8 * 0.2 + 0.2 * 1.0)
    for metric, truth in (("ACC", everybody), ("ACC-c", 4.0)):
        effect = found.effect(metric)
        assert effect.low < truth < effect.high and effect.p_holm < 1e-6
    assert found.effect("ACC-c", "B").relative == pytest.approx(1.0, abs=0.1)
    assert found.effect("ALR").p > 0.05 and found.effect("ALR").low < 0 < found.effect("ALR").high
    mic = found.effect("EPV ratio mic")
    assert (mic.control, mic.value, mic.relative) == (0.0, 1.0, None)
