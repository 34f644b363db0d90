"""One relation as a compressed sparse row matrix, and the primitives that read it.

Everything in micgraph that looks at data does it through the functions below. They are batched, run on the
device where the relation lies, and contain no Python loop over nodes. ``B`` is the number of rows asked for.

Two kinds of rows: *timed* ones (``time`` is given) are ordered by (timestamp, ordinal, item id), so that
"the T clicks before this one" is a slice; the others are ordered by column, so that membership is a binary search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from micgraph import rng

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
        return torch.repeat_interleave(torch.arange(self.n_rows, device=self.device), self.degree())

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
    return (total - torch.repeat_interleave(base, indptr[1:] - start)).to(torch.int32)


def spans(start: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """Flat positions of ragged slices.

    Args:
        start, length: int64 [B].

    Returns:
        owner int64 [S] (which slice) and index int64 [S] (``start + 0 .. start + length - 1``), S = sum of lengths.
    """
    owner = torch.repeat_interleave(torch.arange(len(length), device=length.device), length)
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
    place = torch.arange(size, device=rel.device)
    mask = place[None, :] < (stop - first)[:, None]
    eid = torch.where(mask, first[:, None] + place[None, :], 0)
    return eid, mask


def locate(rel: Relation, rows: Tensor, t: Tensor) -> Tensor:
    """The first edge of each row that is not before time ``t``: int64 [B] offsets, a ``stop`` for :func:`window`.

    The comparison is strict, so basket-mates of a target (same second) are not part of its history.
    """
    assert rel.time is not None, "locate needs a timed relation"
    rows = rows.long()
    return search(rel.time, rel.indptr[rows], rel.indptr[rows + 1], t, right=False)


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


def draw(
    rel: Relation,
    rows: Tensor,
    k: int,
    key: int,
    sample: Tensor | None = None,
    weighted: bool = False,
    exclude: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw ``k`` edges of each row with replacement, uniformly or in exact proportion to their weights.

    Args:
        rows: int64 [B].
        key, sample: see :mod:`micgraph.rng`; ``sample`` int64 [B] defaults to ``rows``.
        weighted: by ``cum``'s integer weights instead of uniformly.
        exclude: int [B], one destination a row that is never drawn (-1 for none); needs rows ordered by column.

    Returns:
        col int64 [B, k], eid int64 [B, k], mask bool [B, k]; where a row has nothing to draw the mask is False and
        col and eid are 0.
    """
    rows = rows.long()
    start, end = rel.indptr[rows], rel.indptr[rows + 1]
    by_weight = weighted and rel.cum is not None
    total = _row_total(rel, start, end) if by_weight else end - start
    skip_at, skip_size = _skip(rel, rows, start, end, exclude, by_weight)
    left = total - skip_size
    ticket = rng.integers(key, rows if sample is None else sample, k, left.clamp(min=0)[:, None])
    ticket = ticket + torch.where(ticket >= skip_at[:, None], skip_size[:, None], 0)
    mask = (left > 0)[:, None].expand(-1, k)
    if by_weight:
        assert rel.cum is not None
        wide = (start[:, None].expand_as(ticket).reshape(-1), end[:, None].expand_as(ticket).reshape(-1))
        eid = search(rel.cum, *wide, ticket.reshape(-1), right=True).view_as(ticket)
    else:
        eid = start[:, None] + ticket
    eid = torch.where(mask, eid, 0)
    col = torch.where(mask, rel.col[eid].long(), 0) if rel.n_edges else torch.zeros_like(eid)
    return col, eid, mask


def members(rel: Relation, rows: Tensor, cols: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the columns are edges of which rows.

    Args:
        rows: int64 [B].
        cols: int64 [C], distinct.

    Returns:
        Two int64 [P]: positions in ``rows`` and in ``cols`` of every pair that is an edge, each pair once.
    """
    rows, cols = rows.long(), cols.long()
    if rel.time is None:
        return _members_by_search(rel, rows, cols)
    slot = torch.full((rel.n_cols,), -1, dtype=torch.int64, device=rel.device)
    slot[cols] = torch.arange(len(cols), device=rel.device)
    owner, eid = spans(rel.indptr[rows], rel.degree(rows))
    place = slot[rel.col[eid].long()]
    hit = place >= 0
    pair = torch.unique(owner[hit] * max(len(cols), 1) + place[hit])  # a user can click an item twice
    return pair // max(len(cols), 1), pair % max(len(cols), 1)


def _row_total(rel: Relation, start: Tensor, end: Tensor) -> Tensor:
    assert rel.cum is not None
    if not rel.n_edges:
        return torch.zeros_like(start)
    return torch.where(end > start, rel.cum[(end - 1).clamp(min=0)].long(), 0)


def _skip(
    rel: Relation, rows: Tensor, start: Tensor, end: Tensor, exclude: Tensor | None, by_weight: bool
) -> tuple[Tensor, Tensor]:
    """Where the excluded edge's tickets begin in its row, and how many it has (0 where nothing is excluded)."""
    if exclude is None or not rel.n_edges:
        return torch.zeros_like(start), torch.zeros_like(start)
    assert rel.time is None, "exclude needs rows ordered by column"
    at = search(rel.col, start, end, exclude, right=False)
    found = (at < end) & (rel.col[at.clamp(max=rel.n_edges - 1)] == exclude)
    at = torch.where(found, at, start)
    if not by_weight:
        return at - start, found.long()
    assert rel.cum is not None
    before = torch.where(at > start, rel.cum[(at - 1).clamp(min=0)].long(), 0)
    return before, torch.where(found, rel.cum[at.clamp(max=rel.n_edges - 1)].long() - before, 0)


def _members_by_search(rel: Relation, rows: Tensor, cols: Tensor) -> tuple[Tensor, Tensor]:
    shape = (len(rows), len(cols))
    if not rel.n_edges or not len(rows) or not len(cols):
        return rows.new_zeros(0), rows.new_zeros(0)
    start = rel.indptr[rows][:, None].expand(shape).reshape(-1)
    end = rel.indptr[rows + 1][:, None].expand(shape).reshape(-1)
    want = cols[None, :].expand(shape).reshape(-1)
    at = search(rel.col, start, end, want, right=False)
    found = (at < end) & (rel.col[at.clamp(max=rel.n_edges - 1)] == want)
    row, col = found.view(shape).nonzero(as_tuple=True)
    return row, col


def search(values: Tensor, start: Tensor, end: Tensor, target: Tensor, right: bool) -> Tensor:
    """Binary search in slices of a flat tensor: the first position in [start, end) whose value is >= target
    (> target if ``right``), or ``end``. All tensors [B]; log2(longest slice) steps, each on the whole batch."""
    low, high = start.clone(), end.clone()
    longest = int((end - start).max()) if len(start) else 0
    for _ in range(longest.bit_length()):
        middle = (low + high) >> 1
        value = values[middle.clamp(max=max(values.numel() - 1, 0))]
        go_right = (value <= target) if right else (value < target)
        go_right = go_right & (low < high)
        low, high = torch.where(go_right, middle + 1, low), torch.where(go_right, high, middle)
    return low
