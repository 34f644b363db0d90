"""Histories in the graph's numbers: rows of its clicks, and the last part of each."""

from __future__ import annotations

import torch
from torch import Tensor

from micgraph.graph.elapsed import gaps
from micgraph.graph.relation import Relation, spans, window
from micgraph.knn import Ragged


def rows_of(clicks: Relation, users: Tensor) -> Ragged:
    """The whole rows of users int64 [B], with their times."""
    users = users.to(clicks.device)
    start, length = clicks.indptr[users], clicks.degree(users)
    indptr = torch.zeros(len(length) + 1, dtype=torch.int64, device=length.device)
    torch.cumsum(length, 0, out=indptr[1:])
    edge = spans(start, length)[1]
    return Ragged(indptr, clicks.col[edge].long(), None if clicks.time is None else clicks.time[edge].long())


def latest(histories: Ragged, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The last ``size`` items of each history, oldest first: int64 [B, T] and mask bool [B, T], T <= ``size``; and the
    seconds since the click before each one, int64 [B, T], -1 unknown."""
    rel = Relation(histories.indptr, histories.items, 0)
    rows = torch.arange(histories.n_rows, device=rel.device)
    eid, mask = window(rel, rows, histories.indptr[1:], max(1, min(size, histories.longest())))
    items = rel.col[eid] if rel.n_edges else torch.full_like(eid, -1)
    return items, mask, torch.where(mask, gaps(histories.indptr, histories.time, rows, eid), -1)
