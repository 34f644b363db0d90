"""Items of stores in the numbers of one graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.schema import InputError


class ItemNumbers:
    """The numbers 0..N-1 of N items by their keys, for millions of items at a time.

    A hash table of int64 keys, 24 to 48 bytes an item, that compiled loops read: Arrow would make its own anew for
    every request.

    Args:
        keys: int64 [N], of :func:`micgraph.stores.keys.item_keys`; ``keys[i]`` is the key of number i.

    Raises:
        InputError: two items have one key.
    """

    def __init__(self, keys: NDArray[np.int64]) -> None:
        from micgraph.stores import number_kernel

        self._kernel = number_kernel
        slots = 1 << max(4, int(2 * len(keys)).bit_length())
        self._keys, self._numbers = np.zeros(slots, np.int64), np.full(slots, -1, np.int64)
        twice = number_kernel.enter(np.ascontiguousarray(keys), self._keys, self._numbers)
        if twice >= 0:
            got = f"{int(keys[twice])} twice, the second time at {twice}"
            raise InputError("keys", "a key of its own for every item", got, "give one of the two items another id")

    def find(self, keys: Any) -> NDArray[np.int64]:
        """The number of each key int64 [S], -1 where there is none."""
        found = np.empty(len(keys), np.int64)
        self._kernel.look_up(np.ascontiguousarray(keys, np.int64), self._keys, self._numbers, found)
        return found
