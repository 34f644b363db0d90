"""Sessions of a log: as given, else cut by a gap and a total span of time (MicRec 3.2: one hour each)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from micgraph.graph.reading import search

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.int64]


def assign(user: Array, micros: Array, given: pa.ChunkedArray | None, gap: int, span: int) -> Array:
    """The session of every event, numbered 0.. in the order of (user, first event).

    Args:
        user: int64 [E], events ordered by (user, timestamp, ordinal, item).
        micros: int64 [E], timestamps in microseconds.
        given: the log's session ids [E] (two users never share a session), or None. Events whose id is null
            are cut by time.
        gap, span: microseconds, see :func:`cut`.

    Returns:
        int64 [E].
    """
    if given is None:
        return cut(user, micros, gap, span)
    ids = given.combine_chunks()
    coded = getattr(ids, "storage", ids).dictionary_encode()  # of UUIDs, which Arrow cannot encode, the bytes
    code = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    label = user * (len(coded.dictionary) + 1) + code
    missing = code < 0
    label[missing] = -1 - cut(user[missing], micros[missing], gap, span)
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def cut(user: Array, micros: Array, gap: int, span: int) -> Array:
    """Cut each user's events greedily: a new session starts where the pause since the last event is longer than
    ``gap``, or the time since the session's first event longer than ``span``.

    Args:
        user, micros: int64 [E], ordered by (user, time).
        gap, span: microseconds.

    Returns:
        int64 [E], sessions numbered in order.
    """
    if not len(user):
        return np.zeros(0, dtype=np.int64)
    starts = np.ones(len(user), dtype=bool)
    starts[1:] = (user[1:] != user[:-1]) | (np.diff(micros) > gap)
    time = torch.from_numpy(np.require(micros, requirements="W"))  # torch warns about what it cannot write to
    first = torch.from_numpy(np.flatnonzero(starts))
    end = torch.cat([first[1:], torch.tensor([len(user)])])
    while len(first):  # one round per session of the busiest stretch; a round costs what is left of the stretches
        first = search(time, first, end, time[first] + span, right=True)
        first, end = first[first < end], end[first < end]
        starts[first.numpy()] = True
    return np.cumsum(starts) - 1
