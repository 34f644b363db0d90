"""The compiled loops of :mod:`micgraph.sampling.local`, imported when they are first needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled

Ints = NDArray[Any]


@compiled
def mark(present: Ints, items: Ints) -> int:
    """Set ``present`` uint8 [n] where ``items`` says, -1 apart; how many were not set before."""
    new = 0
    for i in range(len(items)):
        item = items[i]
        if item >= 0:
            new += 1 - present[item]
            present[item] = 1
    return new


@compiled
def number(present: Ints, items: Ints, slot: Ints) -> None:
    """The items that are marked, ascending, and the place of each; the last entry of ``slot`` answers -1.

    Args:
        present: uint8 [a multiple of 8], 0 or 1.
        items: int64 [so many as are marked], filled in.
        slot: int64 [n + 1], filled in where there is a mark.
    """
    words = present.view(np.uint64)  # most of a big catalogue is not in the batch
    place = 0
    for word in range(len(words)):
        if words[word] == 0:
            continue
        for item in range(8 * word, 8 * word + 8):
            if present[item]:
                items[place] = item
                slot[item] = place
                place += 1
    slot[len(slot) - 1] = -1


@compiled
def places(slot: Ints, items: Ints, found: Ints) -> None:
    """``slot`` of each of ``items``, -1 for -1."""
    last = len(slot) - 1
    for i in range(len(items)):
        item = items[i]
        found[i] = slot[np.uint64(item if item >= 0 else last)]
