"""What the compiled loops of :mod:`micgraph.retrieval.blending` read, work in and write, as tuples of arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled

Array = NDArray[Any]

MIC, LEARNED, RRF, QUOTAS = 0, 1, 2, 3
FREE, REFUSED, WELCOME = -1, -2, -3
"""In the table: an empty slot, an item that must not come, one of those that alone may."""
ITEM, COUNT, PLACE, FROM, NODE, RANK = 0, 1, 4, 7, 8, 9
WHOLE = 10
"""Columns of a room's ``whole``; counts and places take three."""
WEIGHT, SIMILARITY, BASIC, COSINE, BASE, SHARE = 0, 3, 4, 5, 6, 7
REAL = 8
"""Columns of a room's ``real``; weights take three."""
_HASH = np.uint64(0x9E3779B97F4A7C15)


class Found(NamedTuple):
    """What the searches found for B users, and what each may get.

    Attributes:
        items, score: int64 and float32 [B, K1], U2I's list, -1 behind it; K1 = 0 where the channel is not asked.
        alike, nearness: int64 and float32 [B, M1], similar users, -1 behind them.
        clicked: int64 [B, M], the latest clicks, the latest first, -1 for none.
        search: float32 [B, K, d].
        length: float32 [B, K], lengths of these.
        start, out: int64, CSR of the items that each user must not get; ``start`` empty: none.
        first, only: int64, CSR of the items that each user may get alone; ``first`` empty: all.
    """

    items: Array
    score: Array
    alike: Array
    nearness: Array
    clicked: Array
    search: Array
    length: Array
    start: Array
    out: Array
    first: Array
    only: Array


class Stores(NamedTuple):
    """What is the same for all users.

    Attributes:
        indptr, col: clicks as CSR.
        m2: latest clicks of a similar user.
        near, similarity: int32 [N, M3] and the bits of float16 [N, M3], neighbours of items.
        half: float32 [65536], the numbers that the bits stand for.
        fading: float32 [M], factors of the similarities by age of the click.
        vectors: float32 [N, d], search vectors.
        category: int32 [N].
        allowed: bool [N], or empty: all.
    """

    indptr: Array
    col: Array
    m2: int
    near: Array
    similarity: Array
    half: Array
    fading: Array
    vectors: Array
    category: Array
    allowed: Array


class Rule(NamedTuple):
    """The fusion: see :class:`micgraph.retrieval.fusion.FusionConfig`.

    Attributes:
        kind: MIC, LEARNED, RRF or QUOTAS.
        by_score, by_cosine: whether Score_Basic is U2I's score, and whether that is the cosine.
        log: whether counts are read by their logarithm.
        k2, k3: 0 keeps all.
        weight, bias: float32 [10] and the constant of the learned model.
        quotas: float64 [3].
    """

    kind: int
    by_score: bool
    by_cosine: bool
    log: bool
    lambda_mic: Any
    lambda_div: Any
    constant: Any
    k2: int
    k3: int
    weight: Array
    bias: Any
    quotas: Array


class Room(NamedTuple):
    """Working memory of one thread, for at most C candidates.

    Attributes:
        table: int32 [H, 2], by open addressing: an item, and its candidate's number or one of FREE, REFUSED and
            WELCOME. H is a power of 2.
        whole, real: int32 [C, WHOLE] and float32 [C, REAL], what is known of each candidate.
        held: bool [3, C].
        packed: uint64 [C], scores and items to sort by.
        value, bits: float32 [C] and the same memory as uint32.
        group: int64 [C], the category's number among those of the user.
        spot: int64 [categories], the group of a category, -1 before and after.
        start, size: int64 [C], where a group lies in ``packed``, and how many are left of it.
        front, taken, total: float32 [C], of each group: its best score, how many were chosen, Eq. 5.
        order: int64 [3, C], candidates as they stand in the lists of the channels.
    """

    table: Array
    whole: Array
    real: Array
    held: Array
    packed: Array
    value: Array
    bits: Array
    group: Array
    spot: Array
    start: Array
    size: Array
    front: Array
    taken: Array
    total: Array
    order: Array


class Lists(NamedTuple):
    """What comes out: see :class:`micgraph.retrieval.fusion.Fused`."""

    items: Array
    score: Array
    basic: Array
    base: Array
    share: Array
    counts: Array
    place: Array
    weight: Array
    held: Array
    source: Array
    node: Array
    similarity: Array
    found: Array


@compiled
def slot_of(table: Array, item: int) -> int:
    """Where an item is in the table, or would be."""
    mask = len(table) - 1
    slot = np.int64((np.uint64(item) * _HASH) >> np.uint64(40)) & mask
    while table[slot, 1] != FREE and table[slot, 0] != item:
        slot = (slot + 1) & mask
    return int(slot)
