"""The samples that every contestant of train.py trains on, as arrays. Only numpy: rivals have other environments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


def samples(path: str, size: int) -> tuple[Ints, Ints, int]:
    """Every click that has one before it, and the clicks before it.

    Args:
        path: an .npz file with ``indptr`` int64 [users + 1] and ``col`` int32 [clicks], each user's items in order.
        size: T, how many clicks are read.

    Returns:
        Histories int32 [n, T], oldest first, then zeros, of items counted from 1; targets int32 [n]; and the number of
        items.
    """
    with np.load(path) as saved:
        indptr, item = saved["indptr"], saved["col"].astype(np.int32) + 1
    first = np.repeat(indptr[:-1], np.diff(indptr))
    target = np.flatnonzero(np.arange(len(item)) > first)
    start = np.maximum(first[target], target - size)
    history = np.zeros((len(target), size), np.int32)
    for place in range(size):
        there = start + place < target
        history[there, place] = item[start[there] + place]
    return history, item[target], int(item.max())


def sums(history: Ints, target: Ints) -> dict[str, int]:
    """What must be the same of all contestants: how many samples, and what the ids in them add up to."""
    return {
        "samples": len(target),
        "targets": int(target.sum(dtype=np.int64)),
        "histories": int(history.sum(dtype=np.int64)),
    }
