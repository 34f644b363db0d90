"""Tests of significance against slow versions of themselves and against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from micgraph.schema import InputError
from micgraph.significance import holm, paired_bootstrap, resampled_sums, welch

RNG = np.random.default_rng(0)


def test_bootstrap_interval_is_that_of_the_normal_approximation():
    gain = RNG.normal(0.02, 0.3, 2000)
    base = RNG.random(2000)
    got = paired_bootstrap(base + gain, base)
    error = gain.std() / len(gain) ** 0.5
    assert got.difference == pytest.approx(gain.mean())
    assert got.low == pytest.approx(gain.mean() - 1.96 * error, abs=0.1 * error)
    assert got.high == pytest.approx(gain.mean() + 1.96 * error, abs=0.1 * error)
    assert got.p == pytest.approx(2 * stats.norm.sf(abs(gain.mean()) / error), abs=0.01)


def test_bootstrap_pairs_users():
    base = RNG.random(300) * 100  # users differ far more than models do
    assert paired_bootstrap(base + 0.01 + RNG.normal(0, 0.01, 300), base).p < 0.001


def test_bootstrap_of_equal_models_is_no_difference():
    base = RNG.random(50)
    assert paired_bootstrap(base, base) == (0.0, 0.0, 0.0, 1.0)


def test_bootstrap_rejects_as_often_as_it_says():
    rejected = 0
    for trial in range(200):
        a, b = RNG.normal(size=(2, 80))
        rejected += paired_bootstrap(a, b, resamples=400, seed=trial).p < 0.1
    assert 8 <= rejected <= 34  # 20 are expected, the standard deviation is 4.2


def test_bootstrap_weights_are_clicks():
    a, b, clicks = np.array([1.0, 0.0, 0.5]), np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 4.0])
    assert paired_bootstrap(a, b, clicks).difference == pytest.approx((1 - 2) / 5)


def test_bootstrap_is_the_same_again_and_does_not_depend_on_its_chunks(monkeypatch):
    a, b = RNG.random((2, 40))
    whole = paired_bootstrap(a, b, resamples=500)
    monkeypatch.setattr("micgraph.significance._DRAWS_AT_ONCE", 1000)
    assert paired_bootstrap(a, b, resamples=500) == whole
    assert paired_bootstrap(a, b, resamples=500, seed=1) != whole


@pytest.mark.parametrize(
    ("a", "b", "weight"),
    [([1.0], [1.0], None), ([1.0, 2], [1.0], None), ([1.0, np.nan], [1.0, 2], None), ([1.0, 2], [1.0, 2], [0, 0])],
)
def test_bootstrap_refuses_what_cannot_be_compared(a, b, weight):
    with pytest.raises(InputError):
        paired_bootstrap(a, b, weight)


def test_welch_follows_its_formula():
    a, b = [0.20, 0.21, 0.25], [0.18, 0.185, 0.17, 0.19]
    va, vb = np.var(a, ddof=1) / 3, np.var(b, ddof=1) / 4
    t = (np.mean(a) - np.mean(b)) / (va + vb) ** 0.5
    df = (va + vb) ** 2 / (va**2 / 2 + vb**2 / 3)
    got = welch(a, b)
    assert got == pytest.approx((np.mean(a) - np.mean(b), t, df, 2 * stats.t.sf(abs(t), df)))


def test_welch_of_deterministic_models():
    assert welch([0.3, 0.3], [0.2, 0.2]).p == 0.0
    assert welch([0.3, 0.3], [0.3, 0.3]).p == 1.0
    with pytest.raises(InputError, match="at least 2 seeds"):
        welch([0.3], [0.2, 0.1])


def test_holm_on_a_worked_example():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.5))
def test_holm_decides_as_the_step_down_procedure_does(p, level):
    adjusted = holm(p)
    significant, going = set(), True
    for step, at in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        going = going and (len(p) - step) * p[at] <= level
        if going:
            significant.add(at)
    assert {i for i in range(len(p)) if adjusted[i] <= level} == significant


def test_holm_refuses_what_is_no_probability():
    with pytest.raises(InputError):
        holm([0.1, 1.2])


def test_welch_of_constants_that_differ_by_rounding():
    assert welch([0.1 + 0.2] * 3, [0.3] * 3).p == 1.0


def test_resampled_sums_draw_whole_users_with_replacement(monkeypatch):
    users = np.array([[1.0, 0.0, 1], [10.0, 100.0, 1], [1000.0, 0.0, 1]])
    sums = resampled_sums(users, 2_000, seed=4)
    assert sums.shape == (2_000, 3)
    assert (sums[:, 2] == 3).all(), "as many as there are"
    times = [sums[:, 0] % 10, sums[:, 0] // 10 % 10, sums[:, 0] // 1000]
    assert (times[0] + times[1] + times[2] == 3).all()
    assert (sums[:, 1] == 100 * times[1]).all(), "the same users in all columns"
    for drawn in times:
        shares = np.bincount(drawn.astype(int), minlength=4) / 2_000
        np.testing.assert_allclose(shares, stats.binom.pmf(range(4), 3, 1 / 3), atol=0.04)
    monkeypatch.setattr("micgraph.significance._DRAWS_AT_ONCE", 10)
    np.testing.assert_array_equal(resampled_sums(users, 2_000, seed=4), sums)
