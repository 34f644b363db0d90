"""The compiled loops of the primitives on the CPU, imported when they are first needed.

They give what the tensor programs give, number for number: the random numbers are those of :mod:`micgraph.rng`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled
from micgraph.rng_kernel import integer, seeded

Ints = NDArray[Any]


@compiled
def bisected(values: Ints, low: int, high: int, target: int, right: bool) -> int:
    """The first position in [low, high) whose value is >= target (> target if ``right``), or ``high``."""
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < target or (right and values[middle] == target):
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def search(values: Ints, start: Ints, end: Ints, target: Ints, right: bool, found: Ints) -> None:
    """:func:`bisected` in a slice for each target."""
    for i in range(len(start)):
        found[i] = bisected(values, start[i], end[i], target[i], right)


@compiled
def second_began(time: Ints, begin: int, edge: int) -> Any:
    """The first edge from ``begin`` on with the time of ``edge``, sought from there backwards by strides that double:
    few clicks share a second."""
    now, stride = time[edge], 1
    while edge - stride >= begin and time[edge - stride] == now:
        stride *= 2
    return bisected(time, max(begin, edge - stride), edge, now, False)


@compiled
def first_of_second(time: Ints, begin: Ints, edge: Ints, found: Ints) -> None:
    """:func:`second_began` for each edge."""
    for b in range(len(edge)):
        found[b] = second_began(time, begin[b], edge[b])


@compiled
def between(first: Ints, stop: Ints, eid: Ints, mask: Ints) -> None:
    """The edges from ``first[b]`` to ``stop[b]``: ``eid`` [B, T], 0 where there are no more, and ``mask`` [B, T]."""
    for b in range(len(first)):
        count = stop[b] - first[b]
        for t in range(eid.shape[1]):
            mask[b, t] = t < count
            eid[b, t] = first[b] + t if t < count else 0


@compiled
def stretch(table: Ints, first: Ints, stop: Ints, found: Ints, mask: Ints) -> None:
    """``table[first[b]:stop[b]]``: ``found`` [B, T], -1 where there is no more, and ``mask`` [B, T].

    Lines are filled in whole, without a branch: what is read beyond ``stop`` is not taken.
    """
    width = found.shape[1]
    for b in range(len(first)):
        count = stop[b] - first[b]
        line, there = found[b], mask[b]
        for t in range(width):
            there[t] = t < count
        if first[b] + width <= len(table):
            source = table[first[b] : first[b] + width]
            for t in range(width):
                line[t] = source[t] if t < count else -1
        else:
            for t in range(width):
                line[t] = table[first[b] + t] if t < count else -1


@compiled
def draw(
    ends: tuple[Ints, Ints], cum: Ints, k: int, key: Any, sample: Ints, skip: tuple[Ints, Ints], out: tuple[Ints, Ints]
) -> None:
    """``k`` edges of each row with replacement.

    Args:
        ends: where each row starts and ends.
        cum: prefix sums of weights within rows; none at all where every edge weighs the same.
        k, key, sample: see :mod:`micgraph.rng`.
        skip: where the tickets that are left out begin in each row, and how many there are.
        out: edges [B, k] and a mask [B, k] of which there are, both filled in; 0 where a row has nothing.
    """
    (start, end), (skip_at, skip_size), (eid, mask) = ends, skip, out
    weighted = len(cum) > 0
    for row in range(len(start)):
        total = end[row] - start[row]
        if weighted and total > 0:
            total = np.int64(cum[end[row] - 1])
        left = total - skip_size[row]
        begin = seeded(key, sample[row])
        for slot in range(k):
            mask[row, slot] = left > 0
            eid[row, slot] = 0
            if left <= 0:
                continue
            ticket = integer(begin, slot, left)
            if ticket >= skip_at[row]:
                ticket += skip_size[row]
            eid[row, slot] = bisected(cum, start[row], end[row], ticket, True) if weighted else start[row] + ticket


@compiled
def draw_distinct(
    ends: tuple[Ints, Ints], cum: Ints, k: int, key: Any, sample: Ints, skip: tuple[Ints, Ints], out: tuple[Ints, Ints]
) -> None:
    """:func:`draw` without replacement: what was drawn takes its tickets with it."""
    (start, end), (skip_at, skip_size), (eid, mask) = ends, skip, out
    weighted = len(cum) > 0
    at, size = np.empty(k + 1, np.int64), np.empty(k + 1, np.int64)  # tickets that are gone, ascending
    for row in range(len(start)):
        left = end[row] - start[row]
        if weighted and left > 0:
            left = np.int64(cum[end[row] - 1])
        at[0], size[0], gone = skip_at[row], skip_size[row], 1
        left -= skip_size[row]
        begin = seeded(key, sample[row])
        for slot in range(k):
            mask[row, slot] = left > 0
            eid[row, slot] = 0
            if left <= 0:
                continue
            ticket = integer(begin, slot, left)
            place = 0
            while place < gone and ticket >= at[place]:
                ticket += size[place]
                place += 1
            edge, first, width = start[row] + ticket, ticket, np.int64(1)
            if weighted:
                edge = bisected(cum, start[row], end[row], ticket, True)
                first = np.int64(0) if edge == start[row] else np.int64(cum[edge - 1])
                width = np.int64(cum[edge]) - first
            for later in range(gone, place, -1):
                at[later], size[later] = at[later - 1], size[later - 1]
            at[place], size[place] = first, width
            gone += 1
            left -= width
            eid[row, slot] = edge


@compiled
def turn_round(indptr: Ints, col: Ints, place: Ints, row: Ints) -> None:
    """The source node of every edge, ``row`` [E], in the order of the edges' columns, ties by source node.

    Args:
        place: int64 [n nodes], where the edges to each column begin; moved to where they end.
    """
    for r in range(len(indptr) - 1):
        for edge in range(indptr[r], indptr[r + 1]):
            row[place[col[edge]]] = r
            place[col[edge]] += 1


@compiled
def members_by_column(indptr: Ints, row: Ints, rows: Ints, cols: Ints, place: Ints, mask: Ints) -> None:
    """:func:`members` by the edges of ``cols``: ``row`` has the source nodes by column.

    Args:
        place: int32 [n source nodes], -1 everywhere; filled with the last place of each of ``rows``.
    """
    twin = np.empty(len(rows), place.dtype)  # the place before of the same row
    for b in range(len(rows)):
        twin[b] = place[rows[b]]
        place[rows[b]] = b
    for c in range(len(cols)):
        for edge in range(indptr[cols[c]], indptr[cols[c] + 1]):
            b = place[row[edge]]
            while b >= 0:
                mask[b, c] = True
                b = twin[b]


@compiled
def members(indptr: Ints, col: Ints, rows: Ints, cols: Ints, place: Ints, mask: Ints) -> None:
    """Set ``mask[b, c]`` where ``rows[b]`` has an edge to ``cols[c]``.

    Args:
        place: int64 [n nodes], -1 everywhere; filled with the last place of each of ``cols``.
    """
    twin = np.empty(len(cols), np.int64)  # the place before of the same column
    wanted = np.zeros(len(place), np.uint8)  # most edges are asked no more than this, which stays in the cache
    for c in range(len(cols)):
        twin[c] = place[cols[c]]
        place[cols[c]] = c
        wanted[cols[c]] = 1
    for b in range(len(rows)):
        for edge in range(indptr[rows[b]], indptr[rows[b] + 1]):
            if not wanted[col[edge]]:
                continue
            c = place[col[edge]]
            while c >= 0:
                mask[b, c] = True
                c = twin[c]
