"""Whether a difference is more than chance: over users by a bootstrap, over seeds or users by Welch's test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from micgraph.progress import progress_bar
from micgraph.schema import InputError

_DRAWS_AT_ONCE = 4_000_000


class Bootstrap(NamedTuple):
    """Difference ``a - b``, its percentile interval [low, high], and the two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


class Welch(NamedTuple):
    """Difference of means ``a - b``, Welch's t, its degrees of freedom, and the two-sided p-value."""

    difference: float
    t: float
    df: float
    p: float


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    weight: ArrayLike | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Bootstrap:
    """Resample users, the same ones for both sides, and see how often the difference keeps its sign.

    Args:
        a, b: float [B], one metric of the same B users under two models.
        weight: float [B], what a user counts in the mean (his clicks, for a per-click metric); 1 by default.
        resamples: how many times B users are drawn with replacement.
        level: of the interval.
        seed: of the draws.

    Returns:
        The p-value is ``2 min(#{d* <= 0}, #{d* >= 0})`` over resamples, with one added on both sides of the fraction,
        so it is never 0; two models that do not differ for anybody have p = 1.

    Raises:
        InputError: other shapes than [B], numbers that are not finite, no weight at all, or fewer than 2 users.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    mass = np.ones(first.shape) if weight is None else np.asarray(weight, dtype=np.float64)
    _check_pairs(first, second, mass)
    gain = mass * (first - second)
    drawn = np.sort(_resampled_means(gain, mass, resamples, np.random.default_rng(seed)))
    tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    p = min(2 * (tail + 1) / (len(drawn) + 1), 1.0)
    return Bootstrap(float(gain.sum() / mass.sum()), float(low), float(high), float(p))


def resampled_sums(values: ArrayLike, resamples: int, seed: int | Sequence[int] = 0) -> NDArray[np.float64]:
    """Sums over users drawn with replacement; all columns of a draw see the same users.

    Quotients of two columns are resampled metrics, and their differences between independent groups of users give
    the interval of a difference that is not paired.

    Args:
        values: float [n, m], m numbers of each of n users.
        resamples: how many times n users are drawn.
        seed: of the draws.

    Returns:
        float64 [resamples, m].
    """
    users, rng = np.asarray(values, dtype=np.float64), np.random.default_rng(seed)
    n, step = len(users), max(_DRAWS_AT_ONCE // len(users), 1)
    sums = []
    for begin in progress_bar(range(0, resamples, step), desc="resampling users"):
        draws = (rng.integers(0, n, n) for _ in range(min(step, resamples - begin)))
        sums.append(np.stack([np.bincount(drawn, minlength=n) for drawn in draws]) @ users)
    return np.concatenate(sums)


def welch(a: Sequence[float] | NDArray[np.float64], b: Sequence[float] | NDArray[np.float64]) -> Welch:
    """Welch's t-test of one number a seed (or a user); the variances may differ.

    Two sides that do not vary at all (deterministic models) have p = 1 if they are equal but for rounding, else 0.

    Args:
        a, b: at least 2 seeds each.

    Raises:
        InputError: fewer than 2 seeds on a side.
    """
    for name, side in (("a", a), ("b", b)):
        if len(side) < 2:
            raise InputError(name, "the values of at least 2 seeds", len(side), "train more seeds")
    difference = float(np.mean(a) - np.mean(b))
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        difference = 0.0 if np.isclose(a[0], b[0], rtol=1e-12, atol=0) else difference
        return Welch(difference, np.copysign(np.inf, difference) if difference else 0.0, np.nan, float(difference == 0))
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (a, b)]
    t = difference / sum(parts) ** 0.5
    df = sum(parts) ** 2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    return Welch(difference, t, df, float(2 * stats.t.sf(abs(t), df)))


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Holm's correction for several comparisons.

    Args:
        p_values: p [m].

    Returns:
        Adjusted p float64 [m] in the same order: ``max over j <= i of min(1, (m - j) p_(j))`` with p sorted and j
        counted from 0; comparisons with an adjusted p below α are significant together at level α.

    Raises:
        InputError: a number outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise InputError("p_values", "numbers from 0 to 1", p_values, "pass p-values")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order]), 1)
    return adjusted


def _resampled_means(
    gain: NDArray[np.float64], mass: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """``sum gain / sum mass`` of resampled users; resamples that caught no mass are left out."""
    means, step = [], max(_DRAWS_AT_ONCE // len(gain), 1)
    for begin in range(0, resamples, step):
        users = rng.integers(0, len(gain), (min(step, resamples - begin), len(gain)))
        total = mass[users].sum(1)
        means.append(gain[users].sum(1)[total > 0] / total[total > 0])
    return np.concatenate(means)


def _check_pairs(a: NDArray[np.float64], b: NDArray[np.float64], mass: NDArray[np.float64]) -> None:
    if a.ndim != 1 or a.shape != b.shape or a.shape != mass.shape or len(a) < 2:
        got = f"{list(a.shape)}, {list(b.shape)} and weights {list(mass.shape)}"
        raise InputError("a, b", "one number a user for the same 2 or more users", got, "use results of one holdout")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("a, b", "finite numbers", "nan or inf", "leave out users without targets on both sides")
    if mass.min() < 0 or mass.sum() <= 0:
        raise InputError("weight", "weights >= 0 that are not all 0", f"a sum of {mass.sum()}", "pass counts of clicks")
