"""The compiled loop of :mod:`micgraph.knn.fetch`, imported when it is first needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled

Numbers = NDArray[Any]


@compiled
def best(
    score: Numbers, ids: Numbers, indptr: Numbers, items: Numbers, ordered: bool, value: Numbers, out: Numbers
) -> None:
    """Write the best of each row of ``score`` and ``ids`` [B, C] to ``value`` and ``out`` [B, k], which hold -inf and
    -1: without ids below 0 and those in the row of the ragged ``items``, each id once, equal scores by smaller id.

    Args:
        ordered: whether the scores of a row are in order already.
    """
    width, k = ids.shape[1], out.shape[1]
    held, place = np.empty(width, np.float32), np.empty(width, np.int64)
    for row in range(len(ids)):
        left_out = np.sort(items[indptr[row] : indptr[row + 1]])
        count = 0
        for column in range(width):
            one = ids[row, column]
            at = np.searchsorted(left_out, one)
            if one >= 0 and (at == len(left_out) or left_out[at] != one):
                held[count], place[count] = score[row, column], one
                count += 1
        if not ordered:
            order = np.argsort(-held[:count], kind="mergesort")
            held[:count], place[:count] = held[:count][order], place[:count][order]
        for column in range(1, count):
            one, at = place[column], column
            while at > 0 and held[at - 1] == held[column] and place[at - 1] > one:
                place[at] = place[at - 1]
                at -= 1
            place[at] = one
        kept = 0
        for column in range(count):
            if kept < k and (column == 0 or place[column] != place[column - 1]):
                value[row, kept], out[row, kept] = held[column], place[column]
                kept += 1
