"""Arms against the control: Welch's test and bootstrap intervals, both over users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from micgraph.online.definitions import Metric
from micgraph.online.result import Effect
from micgraph.online.totals import USERS, Totals
from micgraph.schema import InputError
from micgraph.significance import holm, resampled_sums, welch

Floats = NDArray[np.float64]


_NAMES = {USERS: "users", "exposure": "exposures", "plays": "views with a play percentage"}


class Draws(NamedTuple):
    """Of the bootstrap: the level of its intervals, how often users are drawn, and the seed."""

    level: float
    resamples: int
    seed: int


def effects_of(totals: Totals, metrics: Sequence[Metric], draws: Draws) -> tuple[tuple[Effect, ...], dict[str, str]]:
    """Every metric of every arm against the control, and metric -> why not where an arm has nothing to divide by.

    p-values are corrected by Holm over all of them together.

    Raises:
        InputError: no metric exists in every arm.
    """
    found: list[Effect] = []
    uneven: dict[str, str] = {}
    for among_cold in (False, True):
        wanted = [metric for metric in metrics if metric.cold == among_cold]
        if not wanted:
            continue
        mask = totals.cold if among_cold and totals.cold is not None else np.ones(len(totals.arm), dtype=bool)
        groups = [mask & (totals.arm == number) for number in range(len(totals.arms))]
        wanted, missing = _both_sides(totals, wanted, groups)
        uneven |= missing
        found += _compared(totals, wanted, groups, draws) if wanted else []
    if not found:
        got = "; ".join(f"{name}: {reason}" for name, reason in uneven.items())
        raise InputError("log", "a metric that every arm has", got, "check the rows of each arm")
    adjusted = holm([effect.p for effect in found])
    place = {metric.name: number for number, metric in enumerate(metrics)}
    corrected = [effect._replace(p_holm=float(p)) for effect, p in zip(found, adjusted, strict=True)]
    return tuple(sorted(corrected, key=lambda e: (totals.arms.index(e.arm), place[e.metric]))), uneven


def per_user(numerator: Floats, denominator: Floats) -> Floats:
    """One value a user whose mean is the quotient of the sums, and whose variance is that of the quotient.

    With r = Σ numerator / Σ denominator it is ``r + (numerator - r denominator) / mean(denominator)``, the quotient
    linearised at its value (the delta method); where every user's denominator is 1, it is the numerator itself.

    Args:
        numerator, denominator: float64 [n]; the denominators are not all 0.

    Returns:
        float64 [n].
    """
    if np.all(denominator == 1):
        return numerator
    ratio = numerator.sum() / denominator.sum()
    expected = ratio * denominator
    rest = np.where(np.isclose(numerator, expected, rtol=1e-12, atol=0), 0, numerator - expected)
    return np.asarray(ratio + rest / denominator.mean())  # without rounding errors, which would have a variance


def _both_sides(
    totals: Totals, metrics: Sequence[Metric], groups: Sequence[NDArray[np.bool_]]
) -> tuple[list[Metric], dict[str, str]]:
    """The metrics that exist in every arm, and why the others do not."""
    kept, missing = [], {}
    for metric in metrics:
        sums = [totals.values[metric.denominator][group].sum() for group in groups]
        least = 2 if metric.denominator == USERS else 1
        lacking = [repr(arm) for arm, total in zip(totals.arms, sums, strict=True) if total < least]
        what = "cold users" if metric.cold else _NAMES[metric.denominator]
        if lacking:
            missing[metric.name] = f"fewer than {least} {what} in {', '.join(lacking)}"
        else:
            kept.append(metric)
    return kept, missing


def _compared(
    totals: Totals, metrics: Sequence[Metric], groups: Sequence[NDArray[np.bool_]], draws: Draws
) -> list[Effect]:
    names = list(dict.fromkeys(name for metric in metrics for name in (metric.numerator, metric.denominator)))
    sides, drawn = [], []
    for number, group in enumerate(groups):
        users = np.stack([totals.values[name][group] for name in names], axis=1)
        sides.append(users)
        drawn.append(resampled_sums(users, draws.resamples, (draws.seed, number)))
    found = []
    for arm in range(1, len(groups)):
        for metric in metrics:
            columns = names.index(metric.numerator), names.index(metric.denominator)
            one, zero = (_quotient(drawn[number], *columns) for number in (arm, 0))
            tails = [(1 - draws.level) / 2, (1 + draws.level) / 2]
            low, high = np.nanquantile(one - zero, tails)
            here, there = (per_user(*(sides[number][:, column] for column in columns)) for number in (arm, 0))
            test = welch(here, there)
            base = float(there.mean())
            relative = test.difference / base if base else None
            values = base, float(here.mean()), test.difference, float(low), float(high), relative
            found.append(Effect(totals.arms[arm], metric.name, *values, test.t, test.df, test.p, test.p))
    return found


def _quotient(sums: Floats, numerator: int, denominator: int) -> Floats:
    """Quotients [resamples] of two columns of sums; NaN where a draw has nothing to divide by."""
    below = sums[:, denominator]
    quotients = np.full(len(sums), np.nan)
    np.divide(sums[:, numerator], below, out=quotients, where=below > 0)
    return quotients
