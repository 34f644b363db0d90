"""The compiled loops of :mod:`micgraph.sampling.khop` on the CPU, imported when they are first needed.

They give what the tensor programs give, number for number: the random numbers are those of :mod:`micgraph.rng`.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from micgraph.compiled import compiled
from micgraph.rng_kernel import integer, seeded

Ints = NDArray[Any]

MARKED = -2
"""In a table of places: this node is new, and has no place yet."""


@compiled
def total(start: Ints, stop: Ints, k: int) -> int:
    """How many edges the rows give, at most ``k`` each."""
    found = 0
    for row in range(len(start)):
        found += min(max(stop[row] - start[row], 0), k)
    return found


@compiled
def choose(start: Ints, stop: Ints, k: int, key: Any, sample: Ints, owner: Ints, eid: Ints) -> None:
    """Write the edges of each row: all of at most ``k``, else ``k`` distinct ones by Floyd's algorithm."""
    place = 0
    for row in range(len(start)):
        degree = stop[row] - start[row]
        if degree <= k:
            for edge in range(start[row], stop[row]):
                owner[place], eid[place] = row, edge
                place += 1
            continue
        begin = seeded(key, sample[row])
        first = place
        for slot in range(k):
            top = degree - k + slot
            edge = start[row] + integer(begin, slot, top + 1)
            for earlier in range(first, place):
                if eid[earlier] == edge:
                    edge = start[row] + top
                    break
            owner[place], eid[place] = row, edge
            place += 1


@compiled
def relabel(col: Ints, eid: Ints, slot: Ints, known: int, fresh: Ints, local: Ints) -> int:
    """Give the nodes that edges lead to a place each; new ones come next, ascending.

    Args:
        col: destinations of all edges.
        eid: int64 [S], edges.
        slot: int32 [n nodes], each node's place or -1; filled in.
        known: how many have a place.
        fresh: room for the new nodes, int64 [min(S, n nodes)].
        local: int64 [S], receives the places.

    Returns:
        The number of new nodes.
    """
    count = 0
    for place in range(len(eid)):
        node = col[eid[place]]
        local[place] = node
        if slot[node] == -1:
            slot[node] = MARKED
            fresh[count] = node
            count += 1
    if len(slot) > 64 * count:
        fresh[:count].sort()
    else:  # reading the whole table is faster than sorting
        count = 0
        for node in range(len(slot)):
            if slot[node] == MARKED:
                fresh[count] = node
                count += 1
    for place in range(count):
        slot[fresh[place]] = known + place
    for place in range(len(eid)):
        local[place] = slot[local[place]]
    return count
