"""The compiled loops of :mod:`micgraph.retrieval.blending` on the CPU, imported when they are first needed.

One user at a time: what the channels bring goes into a table of the distinct items, which stays in the processor's
caches, is scored there, and leaves as a list. Lists are those of :mod:`micgraph.retrieval.pool` and
:mod:`micgraph.retrieval.fusion`, scores but for the order of sums in inner products and softmax.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from micgraph.compiled import compiled
from micgraph.retrieval.blend_arrays import (
    BASE,
    BASIC,
    COSINE,
    COUNT,
    FREE,
    FROM,
    ITEM,
    LEARNED,
    MIC,
    NODE,
    PLACE,
    QUOTAS,
    RANK,
    REAL,
    REFUSED,
    RRF,
    SHARE,
    SIMILARITY,
    WEIGHT,
    WELCOME,
    WHOLE,
    Array,
    slot_of,
)
from micgraph.retrieval.pick_kernel import choose, ordered, take_turns

AHEAD, LINE = 64, 16
"""Vectors that are fetched at a time, and float32 of a cache line."""


@compiled
def mark(table: Array, items: Array, begin: int, end: int, sign: int) -> None:
    """Note of items, but not of the unknown one, that they are refused or welcome."""
    for i in range(begin, end):
        if items[i] >= 0:
            slot = slot_of(table, items[i])
            table[slot, 0], table[slot, 1] = items[i], sign


@compiled
def admit(table: Array, whole: Array, real: Array, allowed: Array, alone: bool, item: int, n: int) -> int:
    """The candidate that an item is, ``n`` if it is a new one; REFUSED if it must not come."""
    slot = slot_of(table, item)
    known = table[slot, 1]
    if known >= 0 or known == REFUSED:
        return int(known)
    if (alone and known != WELCOME) or (len(allowed) > 0 and not allowed[item]):
        table[slot, 0], table[slot, 1] = item, REFUSED
        return REFUSED
    table[slot, 0], table[slot, 1] = item, n
    for column in range(WHOLE):
        whole[n, column] = 0
    for column in range(REAL):
        real[n, column] = 0
    whole[n, ITEM], whole[n, RANK], whole[n, NODE] = item, -1, -1
    for channel in range(3):
        whole[n, PLACE + channel] = -1
    return n


@compiled
def bring(whole: Array, real: Array, p: int, channel: int, weight: Any, node: int) -> None:
    """One occurrence of the candidate ``p``; of the similarities that brought it the largest is kept, the first of
    equal ones."""
    whole[p, COUNT + channel] += 1
    real[p, WEIGHT + channel] += weight
    if channel > 0 and (whole[p, FROM] == 0 or weight > real[p, SIMILARITY]):
        whole[p, FROM], whole[p, NODE], real[p, SIMILARITY] = channel, node, weight


@compiled
def gather(row: int, found: Any, stores: Any, room: Any, total: Array) -> int:
    """Put what the channels bring to a user into the room: the number of distinct items."""
    table, whole, real = room.table, room.whole, room.real
    table[:, 1] = FREE
    alone, n = len(found.first) > 0, 0
    if alone:
        mark(room.table, found.only, found.first[row], found.first[row + 1], WELCOME)
    if len(found.start) > 0:
        mark(room.table, found.out, found.start[row], found.start[row + 1], REFUSED)
    for rank in range(found.items.shape[1]):
        if found.items[row, rank] >= 0:
            p = admit(table, whole, real, stores.allowed, alone, found.items[row, rank], n)
            if p >= 0:
                n = max(n, p + 1)
                bring(whole, real, p, 0, found.score[row, rank], -1)
                room.whole[p, RANK] = rank
    for which in range(found.alike.shape[1]):
        user = found.alike[row, which]
        if user >= 0:
            end = stores.indptr[user + 1]
            for edge in range(max(stores.indptr[user], end - stores.m2), end):
                p = admit(table, whole, real, stores.allowed, alone, stores.col[edge], n)
                if p >= 0:
                    n = max(n, p + 1)
                    bring(whole, real, p, 1, found.nearness[row, which], user)
    for age in range(found.clicked.shape[1]):
        click = found.clicked[row, age]
        if click >= 0:
            for k in range(stores.near.shape[1]):
                item = stores.near[click, k]
                p = REFUSED if item < 0 else admit(table, whole, real, stores.allowed, alone, item, n)
                if p >= 0:
                    n = max(n, p + 1)
                    bring(whole, real, p, 2, stores.half[stores.similarity[click, k]] * stores.fading[age], click)
    for channel in range(3):
        total[channel] = room.whole[:n, COUNT + channel].sum()
    return n


@partial(compiled, rounding={"reassoc", "contract"})
def inner(query: Array, vector: Array) -> Any:
    """The inner product."""
    total = np.float32(0)
    for i in range(len(query)):
        total += query[i] * vector[i]
    return total


@partial(compiled, rounding={"reassoc"})
def fetched(whole: Array, vectors: Array, begin: int, end: int) -> Any:
    """Read a number of each cache line of the candidates' vectors, and give their sum.

    These reads do not wait for one another: memory answers many at once, and the vectors are in the cache when needed.
    """
    total = np.float32(0)
    for p in range(begin, end):
        for i in range(0, vectors.shape[1], LINE):
            total += vectors[whole[p, ITEM], i]
    return total


@compiled
def compare(search: Array, length: Array, stores: Any, by_cosine: bool, room: Any, n: int) -> None:
    """U2I's score and the cosine of each candidate, those of the best interest."""
    shortest, ahead = np.float32(1e-12), 0
    for p in range(n):
        if p == ahead:
            ahead = min(p + AHEAD, n)
            room.front[0] = fetched(room.whole, stores.vectors, p, ahead)
        vector = stores.vectors[room.whole[p, ITEM]]
        size = max(np.float32(math.sqrt(inner(vector, vector))), shortest)
        best, nearest = np.float32(-np.inf), np.float32(-np.inf)
        for interest in range(search.shape[0]):
            score = inner(search[interest], vector)
            best, nearest = max(best, score), max(nearest, score / size / max(length[interest], shortest))
        room.real[p, BASIC] = nearest if by_cosine else best
        room.real[p, COSINE] = nearest


@compiled
def hold(room: Any, n: int, rule: Any) -> None:
    """Which channel keeps which candidate, and at which place where the rule reads it."""
    whole, real, held = room.whole, room.real, room.held
    for p in range(n):
        whole[p, PLACE] = whole[p, RANK]
        for channel in range(3):
            held[channel, p] = whole[p, COUNT + channel] > 0
    for channel in (1, 2):
        k = rule.k2 if channel == 1 else rule.k3
        if k > 0 or rule.kind >= RRF:
            for p in range(n):
                room.value[p] = real[p, WEIGHT + channel] * real[p, COSINE]
            size = ordered(room.value, room.bits, held[channel], whole, room.packed, n)
            for place in range(size):
                item = np.int64(room.packed[place] & np.uint64(0xFFFFFFFF))
                p = room.table[slot_of(room.table, item), 1]
                held[channel, p] = k == 0 or place < k
                if rule.kind >= RRF and held[channel, p]:
                    whole[p, PLACE + channel] = place


@compiled
def judge(room: Any, n: int, rule: Any) -> None:
    """What the score begins with, and Eq. 3."""
    whole, real, held = room.whole, room.real, room.held
    base = real[:, BASE]
    for p in range(n):
        if rule.kind == MIC:
            base[p] = real[p, BASIC] if rule.by_score else real[p, COSINE]
        elif rule.kind == LEARNED:
            base[p] = odds(room, p, rule)
        else:
            for channel in range(3):
                if whole[p, PLACE + channel] >= 0:
                    base[p] += np.float32(1) / (rule.constant + np.float32(1 + whole[p, PLACE + channel]))
    if rule.kind == MIC:
        most, total = 0, np.float32(0)
        for p in range(n):
            if held[0, p] or held[1, p] or held[2, p]:
                most = max(most, whole[p, COUNT] + whole[p, COUNT + 1] + whole[p, COUNT + 2])
        for p in range(n):
            if held[0, p] or held[1, p] or held[2, p]:
                count = whole[p, COUNT] + whole[p, COUNT + 1] + whole[p, COUNT + 2]
                raised = np.float32(count) / np.float32(most) if rule.log else np.float32(math.exp(count - most))
                real[p, SHARE] = raised
                total += raised
        for p in range(n):
            real[p, SHARE] = real[p, SHARE] / total if total > 0 else np.float32(0)


@compiled
def odds(room: Any, p: int, rule: Any) -> Any:
    """The learned log-odds of a candidate; see :func:`micgraph.retrieval.learned.features`."""
    whole, real, w = room.whole, room.real, rule.weight
    score = rule.bias + w[0] * real[p, BASIC]
    if whole[p, RANK] >= 0:
        score -= w[1] * np.float32(math.log(2.0 + whole[p, RANK]))
    for channel in (1, 2):
        if whole[p, COUNT + channel] > 0:
            score += w[1 + channel] * np.float32(math.log1p(whole[p, COUNT + channel]))
        score += w[3 + channel] * real[p, WEIGHT + channel]
    score += w[6] * real[p, SIMILARITY]
    for channel in range(3):
        if room.held[channel, p]:
            score += w[7 + channel]
    return score


@compiled
def write(row: int, size: int, room: Any, lists: Any) -> None:
    """Say of the chosen items, whose numbers are in the list, what the room knows."""
    whole, real = room.whole, room.real
    for step in range(size):
        p = room.table[slot_of(room.table, lists.items[row, step]), 1]
        lists.basic[row, step], lists.base[row, step] = real[p, BASIC], real[p, BASE]
        lists.share[row, step], lists.similarity[row, step] = real[p, SHARE], real[p, SIMILARITY]
        lists.source[row, step], lists.node[row, step] = whole[p, FROM], whole[p, NODE]
        for channel in range(3):
            lists.counts[row, channel, step] = whole[p, COUNT + channel]
            lists.place[row, channel, step] = whole[p, PLACE + channel]
            lists.weight[row, channel, step] = real[p, WEIGHT + channel]
            lists.held[row, channel, step] = room.held[channel, p]


@compiled
def blend(begin: int, end: int, found: Any, stores: Any, rule: Any, room: Any, lists: Any) -> None:
    """The lists of the users ``begin`` to ``end`` - 1, of as many places as ``lists`` has."""
    k = lists.items.shape[1]
    for row in range(begin, end):
        n = gather(row, found, stores, room, lists.found[row])
        compare(found.search[row], found.length[row], stores, rule.by_cosine, room, n)
        hold(room, n, rule)
        judge(room, n, rule)
        if rule.kind == QUOTAS:
            size = take_turns(room, n, rule.quotas, lists.items[row], lists.score[row], k)
        else:
            size = choose(room, n, rule, stores.category, lists.items[row], lists.score[row], k)
        write(row, size, room, lists)
