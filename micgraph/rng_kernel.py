"""The random numbers of :mod:`micgraph.rng` in compiled loops, imported when they are first needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.compiled import compiled

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SAMPLE = np.uint64(0xD6E8FEB86659FDC3)
_LOW32 = np.uint64(0xFFFFFFFF)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = (np.uint64(shift) for shift in (27, 30, 31, 32))


@compiled
def mixed(z: Any) -> Any:
    """SplitMix64's finaliser."""
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@compiled
def seeded(key: Any, sample: Any) -> Any:
    """Where the numbers of one sample begin."""
    return mixed(np.uint64(sample) * _SAMPLE + key)


@compiled
def lot(begin: Any, slot: Any) -> Any:
    """32 random bits of one slot, counted from 0, of a sample whose numbers begin there."""
    return mixed(begin + np.uint64(slot + 1) * _GOLDEN) & _LOW32


@compiled
def integer(begin: Any, slot: Any, high: Any) -> Any:
    """:func:`micgraph.rng.integers` of one slot: int64 in [0, high)."""
    return np.int64((lot(begin, slot) * np.uint64(high)) >> _S32)


@compiled
def bits(key: Any, sample: NDArray[Any], found: NDArray[Any]) -> None:
    """Fill ``found`` [B, slots] with those of each of ``sample`` [B]."""
    for row in range(found.shape[0]):
        begin = seeded(key, sample[row])
        for slot in range(found.shape[1]):
            found[row, slot] = lot(begin, slot)
