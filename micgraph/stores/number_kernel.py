"""The compiled loops of :mod:`micgraph.stores.numbers`, imported when the first table is made.

Open addressing: a key stands in the slot that its hash names, or in the next one that was free. At most half of the
slots, a power of two, are taken; a number of -1 marks a free one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled

_GOLDEN, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@compiled
def slot(key: Any, slots: Any, numbers: Any) -> Any:
    """Where ``key`` stands, or else the free slot where it would be put."""
    mixed = np.uint64(key) * _GOLDEN
    at = np.int64((mixed ^ (mixed >> _SHIFT)) & np.uint64(len(slots) - 1))
    while numbers[at] >= 0 and slots[at] != key:
        at = (at + 1) & (len(slots) - 1)
    return at


@compiled
def enter(keys: NDArray[np.int64], slots: NDArray[np.int64], numbers: NDArray[np.int64]) -> int:
    """Put every key into the free slots; the place of the first key that is there already, else -1."""
    for number in range(len(keys)):
        at = slot(keys[number], slots, numbers)
        if numbers[at] >= 0:
            return number
        slots[at], numbers[at] = keys[number], number
    return -1


@compiled
def look_up(
    keys: NDArray[np.int64], slots: NDArray[np.int64], numbers: NDArray[np.int64], found: NDArray[np.int64]
) -> None:
    """Write the number of each key, or -1."""
    for place in range(len(keys)):
        found[place] = numbers[slot(keys[place], slots, numbers)]
