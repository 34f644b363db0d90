"""The compiled loop of :mod:`micgraph.retrieval.live`, imported when the first store is read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled

Array = NDArray[Any]


class Clicks(NamedTuple):
    """Rows of clicks in the order of their times.

    Attributes:
        indptr: int64 [R + 1].
        item: int [E], numbers of items; -1 is one that the graph does not know.
        time: int [E], seconds since the graph's epoch.
    """

    indptr: Array
    item: Array
    time: Array


@compiled
def merge(user: Array, old: Clicks, live: Clicks, size: int, unknown: bool, made: Clicks) -> int:
    """Write the last ``size`` clicks of each user, of the graph's and of live ones, into ``made``.

    Args:
        user: int64 [B], rows of ``old``, -1 for somebody who has none there.
        old: the graph's.
        live: B rows.
        size: of each user; what is before is left out.
        unknown: whether clicks on items that the graph does not know come too.
        made: indptr [B + 1], and room for what there may be at most.

    Returns:
        How much of the room is filled.
    """
    end = 0
    made.indptr[0] = 0
    for row in range(len(user)):
        begin, first, stop = end, 0, 0
        if user[row] >= 0:
            first, stop = old.indptr[user[row]], old.indptr[user[row] + 1]
            if stop - first > size:  # the last ones, and those of the same second as the first of them
                at = stop - size
                while at > first and old.time[at - 1] == old.time[at]:
                    at -= 1
                first = at
        at = first
        for event in range(live.indptr[row], live.indptr[row + 1]):
            second, item = live.time[event], live.item[event]
            while at < stop and old.time[at] <= second:
                made.item[end], made.time[end] = old.item[at], old.time[at]
                at, end = at + 1, end + 1
            back = at - 1
            while back >= first and old.time[back] == second and old.item[back] != item:
                back -= 1
            same = back >= first and old.time[back] == second
            if not same and (item >= 0 or unknown):
                made.item[end], made.time[end] = item, second
                end += 1
        while at < stop:
            made.item[end], made.time[end] = old.item[at], old.time[at]
            at, end = at + 1, end + 1
        extra = end - begin - size
        if extra > 0:
            for place in range(begin, begin + size):
                made.item[place], made.time[place] = made.item[place + extra], made.time[place + extra]
            end = begin + size
        made.indptr[row + 1] = end
    return end


def room(user: Array, old: Clicks, live: Clicks) -> Clicks:
    """Empty arrays for :func:`merge` of these users, large enough."""
    known = user[user >= 0]
    most = int((old.indptr[known + 1] - old.indptr[known]).sum()) + len(live.item)
    return Clicks(np.zeros(len(user) + 1, np.int64), np.empty(most, np.int64), np.empty(most, np.int64))
