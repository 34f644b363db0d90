"""A hash table of ids that is kept: Arrow would make its own of all ids, however few are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Bytes = tuple[NDArray[np.int64], NDArray[np.uint8]]


class IdTable:
    """The places 0..n-1 of n ids. Beside the ids' own bytes it takes 8 to 16 bytes an id, 8 more where all are equally
    long (integers, UUIDs).

    Args:
        ids: [n], distinct and without nulls; texts, integers or the storage of UUIDs.
    """

    def __init__(self, ids: pa.Array) -> None:
        from micgraph import id_kernel

        self._kernel = id_kernel
        self._ends, self._bytes = _bytes(ids)
        self._slots = np.full(1 << max(4, int(2 * len(ids)).bit_length()), -1, np.int32)
        id_kernel.enter(self._ends, self._bytes, self._slots)

    def find(self, wanted: pa.Array) -> NDArray[np.int64]:
        """The place of each id, int64 [B]; -1 where it is unknown or null.

        Args:
            wanted: [B], of the type of the table's ids.
        """
        ends, data = _bytes(wanted)
        found = np.empty(len(wanted), np.int64)
        self._kernel.look_up(ends, data, self._ends, self._bytes, self._slots, found)
        if wanted.null_count:
            found[np.asarray(wanted.is_null())] = -1
        return found


def _bytes(ids: pa.Array) -> Bytes:
    """Where the bytes of each id end, int64 [n + 1], and the bytes."""
    import pyarrow as pa

    if not pa.types.is_integer(ids.type) and not pa.types.is_fixed_size_binary(ids.type):
        ids = ids.cast(pa.large_string())
        return _buffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1], _buffer(ids.buffers()[2])
    width = ids.type.byte_width
    return (ids.offset + np.arange(len(ids) + 1)) * width, _buffer(ids.buffers()[1])


def _buffer(buffer: pa.Buffer | None, kind: Any = np.uint8) -> NDArray[Any]:
    """A buffer as an array; empty where there is none."""
    return np.zeros(1, kind) if buffer is None or not buffer.size else np.frombuffer(buffer, kind)
