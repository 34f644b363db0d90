"""What a store must hold, by sets and sorting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from micgraph.knn import Ragged

Event = tuple[bytes, int, int]
"""user, item, timestamp"""


def columns(events: Sequence[Event]) -> tuple[list[bytes], list[int], list[int]]:
    return [e[0] for e in events], [e[1] for e in events], [e[2] for e in events]


def rows(found: Ragged) -> list[list[tuple[int, int]]]:
    """The (timestamp, item) of each row."""
    ends = found.indptr.tolist()
    pairs = list(zip(found.time.tolist(), found.items.tolist(), strict=True))
    return [pairs[start:stop] for start, stop in zip(ends, ends[1:], strict=False)]


class Oracle:
    """Keeps everything."""

    def __init__(self, size: int) -> None:
        self.size, self.seen = size, defaultdict(set)

    def append(self, events: Iterable[Event]) -> None:
        for user, item, timestamp in events:
            self.seen[user].add((timestamp, item))

    def read(self, users: Sequence[bytes], m: int | None = None) -> list[list[tuple[int, int]]]:
        return [sorted(self.seen.get(user, ()))[-min(m or self.size, self.size) :] for user in users]
