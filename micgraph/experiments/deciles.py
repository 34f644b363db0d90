"""Where a gain lies: a line against its base by the popularity of the clicked items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from micgraph.evaluation import DECILES
from micgraph.experiments.record import Array, Line
from micgraph.significance import paired_bootstrap

RESAMPLES = 1000
"""Of the intervals: ten of them a comparison, to look at and not to decide by."""


@dataclass(frozen=True)
class Gain:
    """A line against the one that it builds on, over the clicks on items of each decile, the rarest items first.

    Attributes:
        line, base: their names.
        metric: what is compared: ``hit`` at a cut.
        clicks: [10], test clicks on items of the decile.
        reached: [10], the base's figure; None where no such item was clicked, as in what follows.
        difference: [10], the line's figure minus the base's.
        low, high: [10], 95% intervals of a paired bootstrap over the test users who clicked such an item, whose numbers
            are means over seeds; None also where there is only one.
    """

    line: str
    base: str
    metric: str
    clicks: tuple[int, ...]
    reached: tuple[float | None, ...]
    difference: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


def gains(groups: Mapping[str, Sequence[Line]], pairs: Sequence[tuple[str, str]], k: int) -> list[Gain]:
    """Every pair whose results have the figures by decile (results of before they were kept have none).

    Args:
        groups: line -> what it reached, by seed.
        pairs: lines and their bases.
        k: length of the lists.
    """
    wanted = {f"{name}@{k}" for name in DECILES}
    complete = {name for name, lines in groups.items() if all(wanted <= set(line.per_user) for line in lines)}
    return [_gain(groups, pair, k) for pair in pairs if complete.issuperset(pair)]


def _gain(groups: Mapping[str, Sequence[Line]], pair: tuple[str, str], k: int) -> Gain:
    found = []
    for name in DECILES:
        mine, theirs = (np.mean([one.per_user[f"{name}@{k}"] for one in groups[side]], axis=0) for side in pair)
        found.append(_compared(mine, theirs, groups[pair[0]][0].weights[name]))
    return Gain(*pair, f"hit@{k}", *zip(*found, strict=True))


def _compared(
    mine: Array, theirs: Array, weight: Array
) -> tuple[int, float | None, float | None, float | None, float | None]:
    """Clicks, the base's figure, the difference and its interval, among the users with such clicks."""
    clicks, who = int(weight.sum()), weight > 0
    if not clicks:
        return 0, None, None, None, None
    reached = float((theirs * weight).sum() / clicks)
    if who.sum() < 2:
        return clicks, reached, float((mine * weight).sum() / clicks) - reached, None, None
    users = paired_bootstrap(mine[who], theirs[who], weight[who], RESAMPLES)
    return clicks, reached, users.difference, users.low, users.high


def cells(given: Sequence[Gain]) -> list[list[str]]:
    """A table of gains: head, test clicks of each decile, and a row a gain with stars at intervals that leave out 0."""
    head = ["", *(str(number + 1) for number in range(len(DECILES)))]
    rows = [head, ["test clicks", *(f"{clicks:,}" for clicks in given[0].clicks)]]
    for one in given:
        numbers = zip(one.difference, one.low, one.high, strict=True)
        rows.append([f"{one.line} against {one.base}", *(_cell(*number) for number in numbers)])
    return rows


def _cell(difference: float | None, low: float | None, high: float | None) -> str:
    if difference is None:
        return "-"
    beyond = low is not None and high is not None and (low > 0 or high < 0)
    return f"{difference:+.4f}" + (" *" if beyond else "")
