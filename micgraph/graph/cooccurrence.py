"""How often two items were in one session: the positives of the session task (MicRec 3.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from micgraph.graph.baskets import Baskets
from micgraph.graph.buffers import Buffers
from micgraph.graph.relation import Relation
from micgraph.progress import progress_bar
from micgraph.schema import CO_OCCURS, InputError

Ints = NDArray[Any]
Rows = tuple[Ints, Ints, Ints]
"""Partners, prefix sums of their counts, and the lengths of the rows of a block of items."""

WORK = 1 << 26  # partners met per block, with repetitions: some tenths of a second
ENTRIES = 1 << 22  # edges per block at the most, where no single item has more: 32 MB


def co_occurrences(baskets: Baskets, top_k: int | None = None, buffers: Buffers | None = None) -> Relation:
    """Count the spans in which two distinct items are together, on torch's number of threads.

    Args:
        baskets: the sessions, see :func:`micgraph.graph.baskets.distinct_baskets`.
        top_k: keep the largest counts of each item only (ties to the smaller item id). The result need not be
            symmetric then.
        buffers: where edges go, block by block; in memory by default.

    Returns:
        item -> item, rows ordered by item, ``cum`` the prefix sums of the counts. Without ``top_k`` it is symmetric.
        It is the same whatever the number of threads.

    Raises:
        InputError: the counts of an item sum to more than int32 holds.
    """
    from micgraph.graph import pair_kernel as kernel

    buffers = buffers or Buffers()
    work = np.zeros(baskets.n_items, np.int64)
    kernel.work_of_items(baskets.ptr, baskets.spans, work)
    for part in ("col", "cum"):
        buffers.append(f"{CO_OCCURS}.{part}", np.zeros(0, np.int32))
    sizes = [np.zeros(0, np.int32)]
    for col, cum, size in _in_turn(_Counter(baskets, work, top_k), _blocks(work, top_k), work):
        buffers.append(f"{CO_OCCURS}.col", col)
        buffers.append(f"{CO_OCCURS}.cum", cum)
        sizes.append(size)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(sizes), dtype=np.int64)])
    edges = {part: buffers.finish(f"{CO_OCCURS}.{part}") for part in ("col", "cum")}
    return Relation(torch.from_numpy(indptr), n_cols=baskets.n_items, **edges)


class _Counter:
    """Counts blocks of items, each thread with its own dense row of counts."""

    def __init__(self, baskets: Baskets, work: Ints, top_k: int | None) -> None:
        self._baskets, self._top_k = baskets, top_k
        self._most = _most_edges(work, top_k)
        self._rooms: SimpleQueue[tuple[Ints, Ints]] = SimpleQueue()
        self.threads = torch.get_num_threads()
        for _ in range(self.threads):
            self._rooms.put((np.zeros(baskets.n_items, np.int32), np.empty(baskets.n_items + 1, np.uint32)))

    def __call__(self, block: tuple[int, int]) -> Rows:
        from micgraph.graph import pair_kernel as kernel

        first, last = block
        most, b = int(self._most[first:last].sum()), self._baskets
        col, cum, size = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(last - first, np.int32)
        room = self._rooms.get()
        largest = kernel.count_block(first, last, self._top_k or 0, b.ptr, b.spans, b.col, *room, col, cum, size)
        self._rooms.put(room)
        if largest >= 2**31:
            remedy = "lower co_occurs_top_k or max_pairs_per_session"
            raise InputError("log", "counts of an item that sum to less than 2**31", f"{largest:,}", remedy)
        written = int(size.sum())
        return col[:written], cum[:written], size


def _in_turn(count: _Counter, blocks: Iterator[tuple[int, int]], work: Ints) -> Iterator[Rows]:
    """The rows of all blocks in their order, few of them ahead of who takes them."""
    waiting: deque[tuple[int, Future[Rows]]] = deque()
    with (
        ThreadPoolExecutor(count.threads) as pool,
        progress_bar(total=int(work.sum()), desc="co-occurrence", unit="pair", unit_scale=True) as bar,
    ):
        for first, last in blocks:
            waiting.append((int(work[first:last].sum()), pool.submit(count, (first, last))))
            if len(waiting) > 2 * count.threads:
                yield _next(waiting, bar)
        while waiting:
            yield _next(waiting, bar)


def _next(waiting: deque[tuple[int, Future[Rows]]], bar: Any) -> Rows:
    done, future = waiting.popleft()
    rows = future.result()
    bar.update(done)
    return rows


def _most_edges(work: Ints, top_k: int | None) -> Ints:
    """What the length of each item's row cannot exceed."""
    return np.minimum(work, min(max(len(work) - 1, 0), top_k or len(work)))


def _blocks(work: Ints, top_k: int | None) -> Iterator[tuple[int, int]]:
    """Ranges of items of about :data:`WORK` and at the most :data:`ENTRIES` each, or of one item that has more."""
    met, edges = (np.concatenate([[0], np.cumsum(x)]) for x in (work, _most_edges(work, top_k)))
    first = 0
    while first < len(work):
        last = min(
            int(np.searchsorted(total, total[first] + most, side="right")) - 1
            for total, most in ((met, WORK), (edges, ENTRIES))
        )
        last = min(max(last, first + 1), len(work))
        yield first, last
        first = last
