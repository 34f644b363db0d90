"""The distinct items of sessions, seen from the items: which slices of items each of them meets."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.graph.buffers import Buffers
from micgraph.graph.relation import Relation
from micgraph.schema import InputError

logger = logging.getLogger(__name__)

LONG_SESSION = 2_000
"""Distinct items of a session above which a warning is logged: n items make n (n - 1) edges, here 4 million from one
session. People do not look at so much at a time; robots, imports and session ids that repeat do."""

CUTS = ("session cut: more pairs than max_pairs_per_session", "pair of items of a cut session, too far apart")

Ints = NDArray[Any]


@dataclass(frozen=True)
class Baskets:
    """Spans: slices of items that are together. A session is one, or one an item where it is cut to neighbours.

    Attributes:
        col: uint32 [E], the distinct items of the sessions in the order of their first click.
        ptr: int64 [n_items + 1], where each item's spans begin and end in ``spans``.
        spans: int64 [E], the slices of ``col`` in which each item meets others, see
            :data:`micgraph.graph.pair_kernel.LENGTH_BITS`.
        cuts: what was cut -> how much of it.
    """

    col: Ints
    ptr: Ints
    spans: Ints
    cuts: dict[str, int] = field(default_factory=dict)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.ptr) - 1


def distinct_baskets(contains: Relation, max_pairs: int | None = None, buffers: Buffers | None = None) -> Baskets:
    """Prepare sessions for counting; an item that is several times in a session counts once.

    Args:
        contains: session -> item.
        max_pairs: a session with more ordered pairs of distinct items only has those of neighbours in time (of the
            items' first clicks): as far apart as the number of pairs allows, at the most this many.
        buffers: where the large arrays lie; in memory by default.

    Returns:
        The spans. Cut sessions and the pairs that they lose are counted in ``cuts`` and logged.

    Raises:
        InputError: a session has more distinct items than a span can have.
    """
    from micgraph.graph import pair_kernel as kernel

    buffers = buffers or Buffers()
    indptr, col = contains.indptr.numpy(), contains.col.numpy().view(np.uint32)
    size = _distinct_sizes(contains)
    if (longest := int(size.max(initial=0))) >= kernel.LONGEST:
        expected = f"sessions of less than {kernel.LONGEST:,} distinct items"
        raise InputError("log", expected, f"{longest:,}", "lower session_span, or leave out whoever made it")
    if (edges := int(size.sum())) < len(col):
        items = buffers.room("baskets.col", edges, np.uint32)
        kernel.distinct_items(indptr, col, np.full(contains.n_cols, -1), items)
        col, indptr = items, _offsets(size)
    reach, cuts = _reaches(size, max_pairs)
    counts = np.zeros(contains.n_cols, np.int64)
    kernel.count_items(col, counts)
    ptr = _offsets(counts)
    spans = buffers.room("baskets.spans", edges, np.int64)
    kernel.spans_of_items(indptr, col, reach, ptr[:-1].copy(), spans)
    return Baskets(col, ptr, spans, cuts)


def session_cuts(contains: Relation, max_pairs: int | None) -> dict[str, int]:
    """The ``cuts`` of :func:`distinct_baskets` alone."""
    return _reaches(_distinct_sizes(contains), max_pairs)[1]


def _distinct_sizes(contains: Relation) -> Ints:
    """The number of distinct items of every session."""
    from micgraph.graph import pair_kernel as kernel

    size = np.zeros(contains.n_rows, np.int64)
    col = contains.col.numpy().view(np.uint32)
    kernel.distinct_sizes(contains.indptr.numpy(), col, np.full(contains.n_cols, -1), size)
    return size


def _offsets(size: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(size, dtype=np.int64)])


def _reaches(size: Ints, max_pairs: int | None) -> tuple[Ints, dict[str, int]]:
    """How far apart two items of each session may be, -1 where they may be anywhere; and what that cuts."""
    sessions = np.bincount(size)
    lengths = np.flatnonzero(sessions)
    reach_of, cuts = reaches(dict(zip(lengths.tolist(), sessions[lengths].tolist(), strict=True)), max_pairs)
    reach = np.full(len(sessions), -1)
    reach[list(reach_of)] = list(reach_of.values())
    return reach[size], cuts


def reaches(sessions: Mapping[int, int], max_pairs: int | None) -> tuple[dict[int, int], dict[str, int]]:
    """How far apart two items of a session may be, where it has too many pairs; logged.

    Args:
        sessions: number of distinct items -> how many sessions have so many.
        max_pairs: see :func:`distinct_baskets`.

    Returns:
        Number of distinct items of a session that is cut -> the largest distance; what was cut -> how much of it.
    """
    reach: dict[int, int] = {}
    left_out = 0
    for n in (n for n in sessions if max_pairs is not None and n * (n - 1) > max_pairs):
        reach[n] = _reach(n, max_pairs or 0)
        left_out += sessions[n] * (n * (n - 1) - _pairs_within(n, reach[n]))
    _warn_of_long_sessions({n: count for n, count in sessions.items() if n not in reach})
    if not reach:
        return reach, {}
    cut = sum(sessions[n] for n in reach)
    logger.warning("%d sessions have more than %d pairs: %d pairs left out", cut, max_pairs, left_out)
    return reach, dict(zip(CUTS, (cut, left_out), strict=True))


def _pairs_within(n: int, distance: int) -> int:
    """Ordered pairs of n things in a row that are at most ``distance`` apart."""
    return distance * (2 * n - 1 - distance)


def _reach(n: int, max_pairs: int) -> int:
    """The largest distance with at most ``max_pairs`` pairs: below the smaller root of a quadratic."""
    b = 2 * n - 1
    distance = (b - math.isqrt(b * b - 4 * max_pairs)) // 2
    return distance if _pairs_within(n, distance) <= max_pairs else distance - 1


def _warn_of_long_sessions(sessions: Mapping[int, int]) -> None:
    """Name the size of the longest session, where it is too long, and what to do about it."""
    longest = max(sessions, default=0)
    if longest > LONG_SESSION:
        logger.warning(
            "%d of %d sessions have more than %d distinct items, the longest %d, which alone makes %d co-occurrence "
            "edges; set max_pairs_per_session, lower session_gap or session_span (where the log gives session ids: "
            "check them), or leave out the users who made these sessions",
            sum(count for n, count in sessions.items() if n > LONG_SESSION),
            sum(sessions.values()),
            LONG_SESSION,
            longest,
            longest * (longest - 1),
        )
