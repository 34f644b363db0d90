"""The compiled loop of :mod:`micgraph.sampling.samples` on the CPU, imported when it is first needed."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from micgraph.compiled import compiled
from micgraph.graph.row_kernel import second_began

Ints = NDArray[Any]


@compiled
def of_clicks(
    pick: Ints,
    samples: tuple[Ints, Ints, Ints, int],
    indptr: Ints,
    time: Ints,
    size: int,
    found: tuple[Ints, Ints, Ints, Ints],
) -> None:
    """Clicks as targets, and what is read before each of them.

    Args:
        pick: int64 [B], samples.
        samples: ``before``, ``first`` and ``near`` of :class:`micgraph.sampling.samples.Samples`, and its ``stride``.
        indptr: where each user's clicks lie.
        time: their times where a history ends before its target's second, else of no entry.
        size: T.
        found: int64 [B] each, filled in: the user, the target, and where what is read begins and ends.
    """
    before, first, near, stride = samples
    row, target, begin, stop = found
    for b in range(len(pick)):
        user = near[pick[b] // stride]
        while before[user + 1] <= pick[b]:
            user += 1
        row[b], target[b] = user, first[user] + pick[b] - before[user]
    if len(time):
        for b in range(len(pick)):  # times lie far apart: many reads are under way at once where none waits for another
            stop[b] = time[target[b]]
    for b in range(len(pick)):
        start = indptr[row[b]]
        stop[b] = second_began(time, start, target[b]) if len(time) else target[b]
        begin[b] = max(start, stop[b] - size)
