"""Edges drawn at random from each row: every edge has one ticket, or as many as it weighs."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from micgraph import rng
from micgraph.graph.reading import search
from micgraph.graph.relation import Relation

Skip = tuple[Tensor, Tensor]
"""Of each row, where the tickets that are left out begin and how many there are: int64 [B] each."""


def draw(
    rel: Relation,
    rows: Tensor,
    k: int,
    key: int,
    sample: Tensor | None = None,
    weighted: bool = False,
    exclude: Tensor | None = None,
    replace: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw ``k`` edges of each row, uniformly or in exact proportion to their weights.

    Args:
        rows: int64 [B].
        key, sample: see :mod:`micgraph.rng`; ``sample`` int64 [B] defaults to ``rows``.
        weighted: by ``cum``'s integer weights instead of uniformly.
        exclude: int [B], one destination a row that is never drawn (-1 for none); needs rows ordered by column.
        replace: an edge may come again. Without, each is drawn from those that are left: a row of fewer than ``k``
            edges gives all of them, in a random order, and no more. (Many neighbours without replacement and without
            weights cost less with :func:`micgraph.sampling.khop.choose`.)

    Returns:
        col int64 [B, k], eid int64 [B, k], mask bool [B, k]; where a row has nothing left to draw the mask is False
        and col and eid are 0.
    """
    rows = rows.long()
    cum = rel.cum if weighted else None
    skip = _skip(rel, rows, exclude, cum)
    by = _by_compiled if rel.device.type == "cpu" else _by_tensors if replace else _distinct_by_tensors
    eid, mask = by(rel, cum, rows, k, key, rows if sample is None else sample, skip, replace)
    col = torch.where(mask, rel.col[eid].long(), 0) if rel.n_edges else torch.zeros_like(eid)
    return col, eid, mask


def _by_compiled(
    rel: Relation, cum: Tensor | None, rows: Tensor, k: int, key: int, sample: Tensor, skip: Skip, replace: bool
) -> tuple[Tensor, Tensor]:
    from micgraph.graph import row_kernel

    ends = rel.indptr[rows].numpy(), rel.indptr[rows + 1].numpy()
    weights = np.zeros(0, np.int32) if cum is None else cum.numpy()
    left_out = skip[0].numpy(), skip[1].numpy()
    eid, mask = torch.empty((len(rows), k), dtype=torch.int64), torch.empty((len(rows), k), dtype=torch.bool)
    loop = row_kernel.draw if replace else row_kernel.draw_distinct
    loop(ends, weights, k, np.uint64(key), sample.long().numpy(), left_out, (eid.numpy(), mask.numpy()))
    return eid, mask


def _by_tensors(
    rel: Relation, cum: Tensor | None, rows: Tensor, k: int, key: int, sample: Tensor, skip: Skip, replace: bool
) -> tuple[Tensor, Tensor]:
    start, total = _tickets(rel, cum, rows)
    left = total - skip[1]
    ticket = rng.integers(key, sample, k, left.clamp(min=0)[:, None])
    ticket = ticket + torch.where(ticket >= skip[0][:, None], skip[1][:, None], 0)
    mask = (left > 0)[:, None].expand(-1, k)
    return torch.where(mask, _edge(rel, cum, rows, start, ticket), 0), mask


def _distinct_by_tensors(
    rel: Relation, cum: Tensor | None, rows: Tensor, k: int, key: int, sample: Tensor, skip: Skip, replace: bool
) -> tuple[Tensor, Tensor]:
    """A ticket is numbered among those that are left; the ranges that are gone before it are added to its number."""
    start, total = _tickets(rel, cum, rows)
    lots = rng.bits(key, sample, k)
    at, size, left = skip[0][:, None], skip[1][:, None], total - skip[1]
    drawn, there = [], []
    for slot in range(k):
        ticket = (lots[:, slot] * left.clamp(min=0)) >> 32
        at, order = torch.sort(at, dim=1, stable=True)
        size = size.gather(1, order)
        passed = ticket[:, None] >= at - (size.cumsum(1) - size)
        ticket = ticket + torch.where(passed, size, 0).sum(1)
        mask = left > 0
        edge = torch.where(mask, _edge(rel, cum, rows, start, ticket[:, None])[:, 0], 0)
        first, width = _tickets_of(cum, start, edge, mask)
        at, size, left = torch.cat([at, first[:, None]], 1), torch.cat([size, width[:, None]], 1), left - width
        drawn.append(edge)
        there.append(mask)
    return torch.stack(drawn, 1), torch.stack(there, 1)


def _edge(rel: Relation, cum: Tensor | None, rows: Tensor, start: Tensor, ticket: Tensor) -> Tensor:
    """The edges that have the tickets int64 [B, k]."""
    if cum is None:
        return start[:, None] + ticket
    wide = [ends[:, None].expand_as(ticket).reshape(-1) for ends in (start, rel.indptr[rows + 1])]
    return search(cum, wide[0], wide[1], ticket.reshape(-1), True, rel.longest).view_as(ticket)


def _tickets_of(cum: Tensor | None, start: Tensor, edge: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The first ticket of each edge int64 [B] and how many it has; none where ``mask`` is False."""
    if cum is None or not cum.numel():
        return edge - start, mask.long()
    first = torch.where(edge > start, cum[(edge - 1).clamp(min=0)].long(), 0)
    return first, torch.where(mask, cum[edge].long() - first, 0)


def _tickets(rel: Relation, cum: Tensor | None, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Where rows start, and how many tickets each has."""
    start, end = rel.indptr[rows], rel.indptr[rows + 1]
    if cum is None:
        return start, end - start
    if not rel.n_edges:
        return start, torch.zeros_like(start)
    return start, torch.where(end > start, cum[(end - 1).clamp(min=0)].long(), 0)


def _skip(rel: Relation, rows: Tensor, exclude: Tensor | None, cum: Tensor | None) -> Skip:
    """The tickets of the excluded edges; 0 of them where nothing is excluded."""
    start, end = rel.indptr[rows], rel.indptr[rows + 1]
    if exclude is None or not rel.n_edges:
        return torch.zeros_like(start), torch.zeros_like(start)
    assert rel.time is None, "exclude needs rows ordered by column"
    at = search(rel.col, start, end, exclude, False, rel.longest)
    found = (at < end) & (rel.col[at.clamp(max=rel.n_edges - 1)] == exclude)
    first, width = _tickets_of(cum, start, torch.where(found, at, start).clamp(max=rel.n_edges - 1), found)
    return first, width
