"""The compiled loops of :mod:`micgraph.id_table`, imported when the first table is made.

Open addressing: the number of an id stands in the slot that the hash of its bytes names, or in the next one that was
free, -1. At most half of the slots, a power of two, are taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled

Array = NDArray[Any]

_BASIS, _PRIME, _SHIFT = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3), np.uint64(29)


@compiled
def hashed(data: Array, start: int, stop: int) -> Any:
    """FNV-1a of bytes, its high bits mixed into the low ones."""
    code = _BASIS
    for at in range(start, stop):
        code = (code ^ np.uint64(data[at])) * _PRIME
    return code ^ (code >> _SHIFT)


@compiled
def slot(data: Array, start: int, stop: int, ends: Array, known: Array, slots: Array) -> Any:
    """Where the id ``data[start:stop]`` stands among the known ones, or else the free slot where it would be put."""
    last = len(slots) - 1
    at = np.int64(hashed(data, start, stop) & np.uint64(last))
    while slots[at] >= 0:
        first = ends[slots[at]]
        same = ends[slots[at] + 1] - first == stop - start
        place = 0
        while same and place < stop - start:
            same = known[first + place] == data[start + place]
            place += 1
        if same:
            break
        at = (at + 1) & last
    return at


@compiled
def enter(ends: Array, known: Array, slots: Array) -> None:
    """Put every id into the free slots."""
    for number in range(len(ends) - 1):
        slots[slot(known, ends[number], ends[number + 1], ends, known, slots)] = number


@compiled
def look_up(wanted: Array, data: Array, ends: Array, known: Array, slots: Array, found: Array) -> None:
    """Write the number of each id ``data[wanted[i]:wanted[i + 1]]``, or -1."""
    for row in range(len(found)):
        found[row] = slots[slot(data, wanted[row], wanted[row + 1], ends, known, slots)]
