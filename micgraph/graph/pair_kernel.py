"""The compiled loops of co-occurrence. Only :mod:`micgraph.graph.cooccurrence` imports this, when it counts.

Item numbers come as unsigned integers: an index that cannot be negative costs no test for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled

Ints = NDArray[Any]

LENGTH_BITS = 24
LONGEST = 1 << LENGTH_BITS
"""A span is one number, ``first << 24 | length``: what an item meets is then read in order, with one jump a span."""


@compiled
def distinct_sizes(indptr: Ints, col: Ints, seen: Ints, size: Ints) -> None:
    """Count the distinct items of each session into ``size`` [S]; ``seen`` [n items] holds -1s."""
    for session in range(len(size)):
        for edge in range(indptr[session], indptr[session + 1]):
            if seen[col[edge]] != session:
                seen[col[edge]] = session
                size[session] += 1


@compiled
def distinct_items(indptr: Ints, col: Ints, seen: Ints, out: Ints) -> None:
    """Write the distinct items of each session one after the other, in the order in which they first come."""
    place = 0
    for session in range(len(indptr) - 1):
        for edge in range(indptr[session], indptr[session + 1]):
            if seen[col[edge]] != session:
                seen[col[edge]] = session
                out[place] = col[edge]
                place += 1


@compiled
def count_items(col: Ints, count: Ints) -> None:
    """How often each item is in ``col``, into ``count`` [n items]."""
    for edge in range(len(col)):
        count[col[edge]] += 1


@compiled
def spans_of_items(indptr: Ints, col: Ints, reach: Ints, place: Ints, out: Ints) -> None:
    """Write the spans of each item side by side: a whole session where ``reach`` is negative, else as many neighbours
    on either side; ``place`` [n items] says where each item's begin, and is changed."""
    for session in range(len(reach)):
        low, high = indptr[session], indptr[session + 1]
        for edge in range(low, high):
            first, last = low, high
            if reach[session] >= 0:
                first, last = max(low, edge - reach[session]), min(high, edge + reach[session] + 1)
            out[place[col[edge]]] = (first << LENGTH_BITS) | (last - first)
            place[col[edge]] += 1


@compiled
def work_of_items(ptr: Ints, spans: Ints, work: Ints) -> None:
    """How many partners each item meets, with repetitions, into ``work`` [n items]."""
    for item in range(len(work)):
        for at in range(ptr[item], ptr[item + 1]):
            work[item] += (spans[at] & (LONGEST - 1)) - 1


@compiled
def _swap_worst(heap: Ints, size: int, key: int) -> None:
    """Replace the smallest key of a binary heap."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = key


@compiled
def _best(count: Ints, touched: Ints, met: int, heap: Ints) -> None:
    """Put the largest counts into ``heap`` [k], k <= met, as ``count << 32 | (2**32 - 1 - item)``, so that among equal
    counts the smaller item is the better one; ``count`` is zero afterwards."""
    k, limit = len(heap), np.int64(0xFFFFFFFF)
    for at in range(k):
        item = touched[at]
        heap[at] = (np.int64(count[item]) << 32) | (limit - np.int64(item))
        count[item] = 0
    heap.sort()  # a sorted array is a heap
    for at in range(k, met):
        item = touched[at]
        key = (np.int64(count[item]) << 32) | (limit - np.int64(item))
        count[item] = 0
        if key > heap[0]:
            _swap_worst(heap, k, key)


@compiled
def _meet(item: int, ptr: Ints, spans: Ints, col: Ints, count: Ints, touched: Ints) -> int:
    """Count the partners of an item, and list them; returns how many they are."""
    met = 0
    for at in range(ptr[item], ptr[item + 1]):
        first = spans[at] >> LENGTH_BITS
        for edge in range(first, first + (spans[at] & (LONGEST - 1))):
            other = col[edge]
            before = count[other]
            touched[met] = other  # without a branch: whether a partner is new is a coin's toss for the processor
            met += before == 0
            count[other] = before + 1
    if met == 0:
        return 0
    count[item] = 0  # it met itself in each of its spans
    for at in range(met):
        if touched[at] == item:
            met -= 1
            touched[at] = touched[met]
            break
    return met


@compiled
def count_block(
    first: int,
    last: int,
    top_k: int,
    ptr: Ints,
    spans: Ints,
    col: Ints,
    count: Ints,
    touched: Ints,
    out_col: Ints,
    out_cum: Ints,
    out_size: Ints,
) -> np.int64:
    """Rows of the items ``first`` up to ``last``: partners in their order, prefix sums of the counts, lengths of rows.

    Args:
        top_k: the largest counts to keep of each item, ties to the smaller item; all where it is 0.
        ptr, spans: the spans of each item, slices of ``col``.
        count: zeros [n items]; zeros again afterwards.
        touched: [n items + 1], of no meaning before and after.
        out_col, out_cum, out_size: written.

    Returns:
        The largest sum of counts of a row: a caller refuses what int32 does not hold.
    """
    written, largest = 0, np.int64(0)
    heap = np.empty(max(top_k, 1), np.int64)
    for item in range(first, last):
        met = _meet(item, ptr, spans, col, count, touched)
        kept = min(met, top_k) if top_k > 0 else met
        total = np.int64(0)
        if kept < met:
            best = heap[:kept]
            _best(count, touched, met, best)
            for at in range(kept):  # ordered by item from here
                best[at] = ((np.int64(0xFFFFFFFF) - (best[at] & 0xFFFFFFFF)) << 32) | (best[at] >> 32)
            best.sort()
            for at in range(kept):
                total += best[at] & 0xFFFFFFFF
                out_col[written + at], out_cum[written + at] = best[at] >> 32, total
        else:
            partners = touched[:met]
            partners.sort()
            for at in range(met):
                total += count[partners[at]]
                count[partners[at]] = 0
                out_col[written + at], out_cum[written + at] = partners[at], total
        largest = max(largest, total)
        out_size[item - first] = kept
        written += kept
    return largest
