"""The compiled loops that make a list of scored candidates: those of :mod:`micgraph.retrieval.selection` on the CPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from micgraph.compiled import compiled
from micgraph.retrieval.blend_arrays import BASE, ITEM, MIC, PLACE, RRF, SHARE, Array, slot_of

_LOW = np.uint64(0xFFFFFFFF)
_HIGH = np.uint64(32)
_SIGN = np.uint32(0x80000000)
_NONE = -1


@compiled
def packed(bits: Any, item: int) -> Any:
    """A number that is smaller for a larger score, and of equal scores for a smaller item.

    Args:
        bits: the float32 score's, which is not -0.
    """
    rising = ~bits if bits & _SIGN else bits | _SIGN
    return (np.uint64(~rising & np.uint32(0xFFFFFFFF)) << _HIGH) | np.uint64(item)


@compiled
def item_of(code: Any) -> int:
    """The item in what :func:`packed` gave."""
    return int(np.int64(code & _LOW))


@compiled
def ordered(value: Array, bits: Array, flag: Array, whole: Array, codes: Array, n: int) -> int:
    """Write the codes of the candidates that have the flag, the largest value first: how many they are."""
    size = 0
    for p in range(n):
        if flag[p]:
            value[p] += np.float32(0)  # no -0
            codes[size] = packed(bits[p], whole[p, ITEM])
            size += 1
    codes[:size].sort()
    return size


@compiled
def sift(heap: Array, start: int, size: int, hole: int) -> None:
    """Let what lies at ``hole`` sink in the heap of the smallest, ``heap[start:start + size]``."""
    code = heap[start + hole]
    while 2 * hole + 1 < size:
        child = 2 * hole + 1
        if child + 1 < size and heap[start + child + 1] < heap[start + child]:
            child += 1
        if code <= heap[start + child]:
            break
        heap[start + hole] = heap[start + child]
        hole = child
    heap[start + hole] = code


@compiled
def grouped(room: Any, n: int, category: Array, diverse: bool) -> int:
    """Give each candidate that a channel holds the number of its category among the user's: how many there are."""
    groups = 0
    for p in range(n):
        room.group[p] = _NONE
        if room.held[0, p] or room.held[1, p] or room.held[2, p]:
            spot = category[room.whole[p, ITEM]] if diverse else 0
            if room.spot[spot] == _NONE:
                room.spot[spot], room.size[groups] = groups, 0
                groups += 1
            room.group[p] = room.spot[spot]
            room.size[room.group[p]] += 1
    for p in range(n):
        room.spot[category[room.whole[p, ITEM]] if diverse else 0] = _NONE
    return groups


@compiled
def queued(room: Any, n: int, groups: int) -> None:
    """A heap of candidates for each group, by the scores in ``room.value``."""
    begin = 0
    for group in range(groups):
        room.start[group] = begin
        begin += room.size[group]
        room.size[group] = 0
    for p in range(n):
        group = room.group[p]
        if group >= 0:
            room.packed[room.start[group] + room.size[group]] = packed(room.bits[p], room.whole[p, ITEM])
            room.size[group] += 1
    for group in range(groups):
        room.taken[group] = np.float32(0)
        for hole in range(room.size[group] // 2 - 1, -1, -1):
            sift(room.packed, room.start[group], room.size[group], hole)
        step_up(room, group)


@compiled
def step_up(room: Any, group: int) -> None:
    """Note the score of the best that is left of a group."""
    room.front[group] = -np.inf
    if room.size[group] > 0:
        p = room.table[slot_of(room.table, item_of(room.packed[room.start[group]])), 1]
        room.front[group] = room.value[p]


@partial(compiled, rounding={"nnan", "nsz"})
def weighed(front: Array, taken: Array, total: Array, groups: int, weight: Any, step: int) -> Any:
    """Eq. 5 of the best of each group, into ``total``; the largest."""
    now, before, best = np.float32(step), np.float32(max(step, 1)), np.float32(-np.inf)
    for group in range(groups):
        total[group] = front[group] + weight * (now - taken[group]) / before
        best = max(best, total[group])
    return best


@compiled
def choose(room: Any, n: int, rule: Any, category: Array, items: Array, scores: Array, k: int) -> int:
    """The greedy choice of Eq. 5 into ``items`` and ``scores``: how many there are.

    Only the best that is left of each category can be next: a place of the list costs O(categories).
    """
    diversity = rule.lambda_div if rule.kind < RRF else np.float32(0)
    for p in range(n):
        room.value[p] = room.real[p, BASE] + np.float32(0)
        if rule.kind == MIC:
            room.value[p] = room.real[p, BASE] + rule.lambda_mic * room.real[p, SHARE] + np.float32(0)
    groups = grouped(room, n, category, diversity != 0)
    queued(room, n, groups)
    for step in range(k):
        best = weighed(room.front, room.taken, room.total, groups, diversity, step)
        if best == -np.inf:
            return step
        winner, first = _NONE, np.int64(0)
        for group in range(groups):
            if room.total[group] == best:
                item = item_of(room.packed[room.start[group]])
                if winner == _NONE or item < first:
                    winner, first = group, item
        items[step], scores[step] = first, best
        room.size[winner] -= 1
        room.packed[room.start[winner]] = room.packed[room.start[winner] + room.size[winner]]
        sift(room.packed, room.start[winner], room.size[winner], 0)
        room.taken[winner] += np.float32(1)
        step_up(room, winner)
    return k


@compiled
def take_turns(room: Any, n: int, quotas: Array, items: Array, scores: Array, k: int) -> int:
    """The best of each channel in turn, see :func:`micgraph.retrieval.selection.take_turns`: how many there are."""
    length, head, taken = np.zeros(3, np.int64), np.zeros(3, np.int64), np.zeros(3)
    room.order[:] = _NONE
    for p in range(n):
        room.group[p] = 0  # not in the list yet
        for channel in range(3):
            place = room.whole[p, PLACE + channel]
            if place >= 0:
                room.order[channel, place] = p
                length[channel] = max(length[channel], place + 1)
    for step in range(k):
        winner, least = _NONE, np.inf
        for channel in range(3):
            while head[channel] < length[channel]:
                p = room.order[channel, head[channel]]
                if p >= 0 and room.group[p] == 0:
                    break
                head[channel] += 1
            due = (taken[channel] + 1) / max(quotas[channel], 1e-9)
            if head[channel] < length[channel] and due < least:
                winner, least = channel, due
        if winner == _NONE:
            return step
        p = room.order[winner, head[winner]]
        room.group[p] = 1
        taken[winner] += 1
        items[step], scores[step] = room.whole[p, ITEM], np.float32(1) / np.float32(step + 1)
    return k
