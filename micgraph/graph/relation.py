"""One relation as a compressed sparse row matrix, and the primitives that read it.

Everything in micgraph that looks at data does it through the functions below, ``draw`` and ``members``. They are
batched, run on the device where the relation lies, and contain no Python loop over nodes: tensor programs on a GPU, and
loops that numba compiles on the CPU, with equal results. ``B`` is the number of rows asked for.

Two kinds of rows: *timed* ones (``time`` is given) are ordered by (timestamp, ordinal, item id), so that
"the T clicks before this one" is a slice; the others are ordered by column, so that membership is a binary search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from micgraph.graph.reading import search

EDGE_BYTES = 8
"""What an edge may take at the most."""


@dataclass(frozen=True)
class Relation:
    """Edges of one type, grouped by source node. An edge has its ``col`` and at most one of the other three.

    Attributes:
        indptr: int64 [N + 1], where each row starts and ends in ``col``.
        col: int32 [E], destination nodes.
        n_cols: number of destination nodes.
        time: int32 [E], seconds since the graph's epoch, or None.
        cum: int32 [E], inclusive prefix sums of the integer weights *within each row*, or None where every edge
            weighs the same.
        score: float16 [E], a similarity, or None.
    """

    indptr: Tensor
    col: Tensor
    n_cols: int
    time: Tensor | None = None
    cum: Tensor | None = None
    score: Tensor | None = None

    @property
    def n_rows(self) -> int:
        """Number of source nodes N."""
        return self.indptr.numel() - 1

    @property
    def n_edges(self) -> int:
        """Number of edges E."""
        return self.col.numel()

    @property
    def edge_bytes(self) -> int:
        """Bytes of an edge, beside the 8 of every row's offset."""
        return sum(values.element_size() for name, values in self.tensors().items() if name != "indptr")

    @property
    def device(self) -> torch.device:
        """Where the tensors lie, hence where the primitives run."""
        return self.col.device

    def degree(self, rows: Tensor | None = None) -> Tensor:
        """Number of edges of each row (of all rows by default): int64 [B]."""
        if rows is None:
            return self.indptr[1:] - self.indptr[:-1]
        rows = rows.long()
        return self.indptr[rows + 1] - self.indptr[rows]

    @cached_property
    def longest(self) -> int:
        """The largest number of edges of a row. Asked for once: on a GPU, numbers for Python have to be waited for."""
        return int(self.degree().max()) if self.n_rows else 0

    @cached_property
    def sources(self) -> tuple[Tensor, Tensor]:
        """The source node of every edge, grouped by column, on the CPU: where each column starts, int64 [n_cols + 1],
        and the nodes, int32 [E]. Made once, when it is first asked for: 4 bytes an edge more."""
        from micgraph.graph import row_kernel

        start = torch.zeros(self.n_cols + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(self.col, minlength=self.n_cols), 0, out=start[1:])
        row = torch.empty(self.n_edges, dtype=torch.int32)
        row_kernel.turn_round(*(x.numpy() for x in (self.indptr, self.col, start.clone(), row)))
        return start, row

    def weight(self) -> Tensor:
        """The integer weight of every edge: int32 [E] (ones where ``cum`` is None)."""
        if self.cum is None:
            return torch.ones_like(self.col)
        before = torch.zeros_like(self.cum)
        before[1:] = self.cum[:-1]
        starts = self.indptr[:-1][self.degree() > 0]
        before[starts] = 0
        return self.cum - before

    def row_index(self) -> Tensor:
        """The source node of every edge: int64 [E]."""
        row = torch.arange(self.n_rows, device=self.device)
        return torch.repeat_interleave(row, self.degree(), output_size=self.n_edges)

    def to(self, device: torch.device | str) -> Relation:
        """The same relation on another device."""
        moved = {name: value.to(device) for name, value in self.tensors().items()}
        return replace(self, **moved)  # type: ignore[arg-type]

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are present, by attribute name."""
        named = {name: getattr(self, name) for name in ("indptr", "col", "time", "cum", "score")}
        return {name: value for name, value in named.items() if value is not None}

    def turned(self) -> Tensor:
        """The edges in the order in which :meth:`reverse` has them: int64 [E]."""
        order = torch.arange(self.n_edges, device=self.device)
        if self.time is not None:
            order = torch.argsort(self.time, stable=True)
        return order[torch.argsort(self.col[order], stable=True)]

    def reverse(self) -> Relation:
        """Edges turned round. Timed rows stay ordered by time (ties by source node), others by column."""
        row, order = self.row_index(), self.turned()
        counts = torch.bincount(self.col.long(), minlength=self.n_cols)
        indptr = torch.zeros(self.n_cols + 1, dtype=torch.int64, device=self.device)
        torch.cumsum(counts, 0, out=indptr[1:])
        return Relation(
            indptr=indptr,
            col=row[order].to(torch.int32),
            n_cols=self.n_rows,
            time=None if self.time is None else self.time[order],
            cum=None if self.cum is None else row_cumsum(indptr, self.weight()[order]),
            score=None if self.score is None else self.score[order],
        )


def row_cumsum(indptr: Tensor, weight: Tensor) -> Tensor:
    """Inclusive prefix sums of integer ``weight`` [E] within each row: int32 [E]."""
    total = torch.cumsum(weight.long(), 0)
    start = indptr[:-1]
    base = torch.where(start > 0, total[(start - 1).clamp(min=0)], 0) if total.numel() else total.new_zeros(len(start))
    return (total - torch.repeat_interleave(base, indptr[1:] - start, output_size=len(total))).to(torch.int32)


def spans(start: Tensor, length: Tensor, total: int | None = None) -> tuple[Tensor, Tensor]:
    """Flat positions of ragged slices.

    Args:
        start, length: int64 [B].
        total: the sum of the lengths where it is known; a GPU has to be waited for it otherwise.

    Returns:
        owner int64 [S] (which slice) and index int64 [S] (``start + 0 .. start + length - 1``), S = sum of lengths.
    """
    owner = torch.repeat_interleave(torch.arange(len(length), device=length.device), length, output_size=total)
    offset = torch.cumsum(length, 0) - length
    return owner, torch.arange(len(owner), device=length.device) - (offset - start)[owner]


def window(rel: Relation, rows: Tensor, stop: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The last ``size`` edges of each row before an edge offset, oldest first.

    Args:
        rows: int64 [B].
        stop: int64 [B], offsets into ``rel.col``; an edge at or after its ``stop`` is never read.
        size: T.

    Returns:
        eid int64 [B, T] and mask bool [B, T]; valid edges come first in each line, then padding (eid 0).
        ``rel.col[eid]`` are the neighbours, ``rel.time[eid]`` their times.
    """
    begin = rel.indptr[rows.long()]
    first = torch.maximum(begin, stop - size)
    return between(first, stop, size)


def between(first: Tensor, stop: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The edges from ``first`` to before ``stop``, int64 [B] each, at most ``size``: as :func:`window` gives them."""
    return (_between_compiled if first.device.type == "cpu" else _between_by_tensors)(first, stop, size)


def _between_compiled(first: Tensor, stop: Tensor, size: int) -> tuple[Tensor, Tensor]:
    from micgraph.graph import row_kernel

    eid = torch.empty(len(first), size, dtype=torch.int64)
    mask = torch.empty(len(first), size, dtype=torch.bool)
    row_kernel.between(*(x.numpy() for x in (first, stop, eid, mask)))
    return eid, mask


def _between_by_tensors(first: Tensor, stop: Tensor, size: int) -> tuple[Tensor, Tensor]:
    place = torch.arange(size, device=first.device)
    mask = place[None, :] < (stop - first)[:, None]
    eid = torch.where(mask, first[:, None] + place[None, :], 0)
    return eid, mask


def locate(rel: Relation, rows: Tensor, t: Tensor) -> Tensor:
    """The first edge of each row that is not before time ``t``: int64 [B] offsets, a ``stop`` for :func:`window`.

    The comparison is strict, so basket-mates of a target (same second) are not part of its history.
    """
    assert rel.time is not None, "locate needs a timed relation"
    rows = rows.long()
    return search(rel.time, rel.indptr[rows], rel.indptr[rows + 1], t, False, rel.longest)


def second_start(rel: Relation, rows: Tensor, eid: Tensor) -> Tensor:
    """The first edge of each row with the time of an edge of that row: what :func:`locate` says of its time, found from
    the edge on backwards.

    Args:
        rows, eid: int64, of one shape.
    """
    assert rel.time is not None, "second_start needs a timed relation"
    if rel.device.type != "cpu":
        return locate(rel, rows, rel.time[eid])
    from micgraph.graph import row_kernel

    found, begin = torch.empty(eid.shape, dtype=torch.int64), rel.indptr[rows.long()]
    row_kernel.first_of_second(rel.time.numpy(), *(x.reshape(-1).numpy() for x in (begin, eid, found)))
    return found


def packed(rel: Relation, rows: Tensor, size: int, stop: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Ragged sequences: the last ``size`` edges of each row (before ``stop`` where given), without padding.

    Returns:
        eid int64 [S], and cu_seqlens int64 [B + 1] with ``cu_seqlens[-1] == S``.
    """
    rows = rows.long()
    end = rel.indptr[rows + 1] if stop is None else stop
    start = torch.maximum(rel.indptr[rows], end - size)
    cu_seqlens = torch.zeros(len(rows) + 1, dtype=torch.int64, device=rel.device)
    torch.cumsum(end - start, 0, out=cu_seqlens[1:])
    return spans(start, end - start)[1], cu_seqlens
