"""The compiled loop of :func:`micgraph.retrieval.frames.recommendations`, imported for the first answer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled

Array = NDArray[Any]
POPULAR = 8
"""The label of what no channel holds; others are the sum of 1 for U2I, 2 for U2U and 4 for I2I."""


class Rows(NamedTuple):
    """R rows of recommendations; what no channel brought is ``popular`` and has zeros and -1 for the rest.

    Attributes:
        owner, item: int64 [R]: the place of the user, and the item.
        rank: int32 [R], from 1.
        popular: bool [R].
        label: int32 [R].
        score, basic: float32 [R].
        weights, counts: float32 and int32 [2, R], of U2U and I2I.
        user, click: int64 [R], what brought the item: a similar user or a click of the history, -1 for neither.
    """

    owner: Array
    item: Array
    rank: Array
    popular: Array
    label: Array
    score: Array
    basic: Array
    weights: Array
    counts: Array
    user: Array
    click: Array


def room(size: int) -> Rows:
    """Rows to write into."""
    kinds: list[Any] = [np.int64, np.int64, np.int32, np.bool_, np.int32, np.float32, np.float32]
    single, nodes = [np.zeros(size, kind) for kind in kinds], [np.full(size, -1) for _ in range(2)]
    return Rows._make((*single, np.zeros((2, size), np.float32), np.zeros((2, size), np.int32), *nodes))


@compiled
def lay_out(
    items: Array,
    brought: Array,
    score: Array,
    basic: Array,
    held: Array,
    weight: Array,
    count: Array,
    source: Array,
    node: Array,
    rows: Any,
) -> int:
    """Write the items of B lists of k places, [B, k] and [B, 3, k], one behind the other: how many they are."""
    at = 0
    for row in range(items.shape[0]):
        for place in range(items.shape[1]):
            if items[row, place] >= 0:
                rows.owner[at], rows.item[at], rows.rank[at] = row, items[row, place], place + 1
                rows.popular[at] = brought[row, place] < 0
                rows.label[at] = POPULAR
                if not rows.popular[at]:
                    rows.score[at], rows.basic[at] = score[row, place], basic[row, place]
                    rows.label[at] = held[row, 0, place] + 2 * held[row, 1, place] + 4 * held[row, 2, place]
                    for channel in range(2):
                        rows.weights[channel, at] = weight[row, 1 + channel, place]
                        rows.counts[channel, at] = count[row, 1 + channel, place]
                    if source[row, place] == 1:
                        rows.user[at] = node[row, place]
                    elif source[row, place] == 2:
                        rows.click[at] = node[row, place]
                at += 1
    return at
