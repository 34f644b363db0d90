"""Events as bytes that sort as the events do.

An event is 16 bytes: its timestamp, then its item, each as a big-endian 64-bit number with the sign bit turned over.
Compared byte by byte, as Python, LMDB and Redis compare, such entries are in the order of (timestamp, item), negative
numbers included. A history is its entries, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from micgraph.knn import Ragged

WIDTH = 16
_SIGN = np.uint64(1 << 63)


def pack(items: NDArray[np.int64], timestamps: NDArray[np.int64]) -> list[bytes]:
    """Entries of events int64 [E]."""
    pairs = np.empty((len(items), 2), ">u8")
    pairs[:, 0] = timestamps.view(np.uint64) ^ _SIGN
    pairs[:, 1] = items.view(np.uint64) ^ _SIGN
    whole = pairs.tobytes()
    return [whole[at : at + WIDTH] for at in range(0, len(whole), WIDTH)]


def unpack(histories: Sequence[bytes]) -> Ragged:
    """B histories as the rows of items and times.

    Raises:
        ValueError: a history is not made of whole entries.
    """
    lengths = np.fromiter(map(len, histories), np.int64, len(histories))
    if (lengths % WIDTH).any():
        raise ValueError(f"{int(lengths[lengths % WIDTH > 0][0])} bytes in one")
    indptr = np.zeros(len(histories) + 1, np.int64)
    np.cumsum(lengths // WIDTH, out=indptr[1:])
    pairs = np.frombuffer(b"".join(histories), ">u8").reshape(-1, 2)
    time, items = ((pairs[:, side].astype(np.uint64) ^ _SIGN).view(np.int64) for side in (0, 1))
    return Ragged(torch.from_numpy(indptr), torch.from_numpy(items), torch.from_numpy(time))


def merge(history: bytes, entries: Sequence[bytes], size: int) -> bytes:
    """The last ``size`` of the distinct entries of a history and of new ones, which come in any order."""
    new = sorted(set(entries))
    if history[-WIDTH:] < new[0]:  # the usual case: nothing is late
        merged = history + b"".join(new)
    else:
        old = (history[at : at + WIDTH] for at in range(0, len(history), WIDTH))
        merged = b"".join(sorted({*old, *new}))
    return merged[-WIDTH * size :]


def seal(user: bytes, history: bytes) -> bytes:
    """A history with four bytes (CRC-32 of its user's key and itself) that vouch for it."""
    return history + _check(user, history)


def unseal(user: bytes, value: bytes) -> bytes | None:
    """The history in what :func:`seal` gave; None if it was changed."""
    history, check = value[:-4], value[-4:]
    return history if len(history) % WIDTH == 0 and check == _check(user, history) else None


def _check(user: bytes, history: bytes) -> bytes:
    return crc32(history, crc32(user)).to_bytes(4, "big")
