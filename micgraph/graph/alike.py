"""Equal items as groups, so that a search goes among distinct ones and its time does not grow with their repeats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.graph.sparse import Edges, keep_top

Ints = NDArray[np.int64]

EDGES = 1 << 22
"""Candidates that are spread over items at a time: some 200 MB of temporaries."""


@dataclass(frozen=True)
class Groups:
    """Items 0 to n - 1 by what they are equal in; groups are numbered by their first items.

    Attributes:
        of: int64 [n], the group of every item.
        size: int64 [G], how many items a group has.
        members: int64 [n], the items ordered by (group, item).
    """

    of: Ints
    size: Ints
    members: Ints

    @classmethod
    def by_content(cls, contents: Iterable[Any]) -> Groups:
        """Group n buffers (contiguous arrays, say) by their bytes, which 16 bytes of a hash stand for."""
        numbers: dict[bytes, int] = {}
        of = [numbers.setdefault(blake2b(one, digest_size=16).digest(), len(numbers)) for one in contents]
        group = np.array(of, dtype=np.int64)
        return cls(group, np.bincount(group, minlength=len(numbers)), np.argsort(group, kind="stable"))

    @property
    def first(self) -> Ints:
        """The first item of every group: int64 [G]."""
        return self.members[self._start()]

    def _start(self) -> Ints:
        return np.cumsum(self.size) - self.size

    def spread(self, row: Ints, col: Ints, value: NDArray[Any], k: int) -> Edges:
        """The ``k`` best neighbours of every item, from pairs of groups.

        Items of one group are each other's best neighbours, with the value 1, and no other pair has more. Among equals
        the next ones in the order of items come first, cyclically, so that repeats are neighbours equally often.

        Args:
            row, col: int64 [E], groups that are neighbours, among them each group of several items with itself.
            value: float [E].
            k: neighbours per item.

        Returns:
            Edges of the items of the groups in ``row``, ordered by source alone.
        """
        known = self._others(row, col) > 0
        row, col = row[known], col[known]
        value = np.where(row == col, value.dtype.type(1), np.minimum(value[known], 1))
        row, col, value = self._enough(row, col, value, k)
        parts = [self._expand(row[part], col[part], value[part], k) for part in self._parts(row, col, k)]
        source, target, score = (np.concatenate(column) for column in zip(*parts, strict=True))
        return source, target, score

    def _others(self, row: Ints, col: Ints) -> Ints:
        """How many neighbours each pair of groups gives an item of ``row``."""
        others: Ints = self.size[col] - (row == col)
        return others

    def _enough(self, row: Ints, col: Ints, value: NDArray[Any], k: int) -> Edges:
        """The pairs without those that ``k`` items of each row come before; all that tie with the last stay."""
        order = np.lexsort((-value, row))
        row, col, value = row[order], col[order], value[order]
        if not len(row):
            return row, col, value
        head = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
        length = np.diff(np.r_[head, len(row)])
        items = self._others(row, col)
        before = np.cumsum(items) - items
        before -= np.repeat(before[head], length)
        needed = np.add.reduceat((before < k).astype(np.int64), head)
        keep = value >= np.repeat(value[head + needed - 1], length)
        return row[keep], col[keep], value[keep]

    def _parts(self, row: Ints, col: Ints, k: int) -> Iterator[slice]:
        """Slices of whole rows that make about :data:`EDGES` candidates each, or one row that makes more."""
        made = np.cumsum(np.minimum(self._others(row, col), k) * self.size[row])
        ends = np.flatnonzero(row[1:] != row[:-1]) + 1
        cuts = ends[np.diff(made[ends - 1] // EDGES, prepend=0) > 0]
        for begin, end in pairwise([0, *cuts.tolist(), len(row)]):
            yield slice(begin, end)

    def _expand(self, row: Ints, col: Ints, value: NDArray[Any], k: int) -> Edges:
        """For each item of a row the next ``k`` items of each ``col``, cut to the best ``k`` in all."""
        start, n = self._start(), len(self.of)
        pair, place = _ramps(self.size[row])
        item = self.members[start[row][pair] + place]
        order = np.argsort(item, kind="stable")
        pair, item = pair[order], item[order]
        col = col[pair]
        after = np.searchsorted(self.of[self.members] * n + self.members, col * n + item, side="right") - start[col]
        edge, step = _ramps(np.minimum(self._others(row[pair], col), k))
        target = self.members[start[col][edge] + (after[edge] + step) % self.size[col][edge]]
        return keep_top(item[edge], target, value[pair][edge], k, n, near=True)


def _ramps(length: Ints) -> tuple[Ints, Ints]:
    """Of ranges of these lengths the number of each entry's range, and its place in it."""
    owner = np.repeat(np.arange(len(length)), length)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
