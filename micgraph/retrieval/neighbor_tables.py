"""Tables of the neighbours of items: of a graph's edges, and with items that came later."""

from __future__ import annotations

import torch
from torch import Tensor

from micgraph.graph.relation import Relation
from micgraph.knn import NeighborTable, Ragged, topk


def strongest(relation: Relation, k: int) -> NeighborTable:
    """The ``k`` strongest edges of each row of an item relation, ties by smaller id.

    Args:
        relation: ``co_occurs`` (strength = count divided by the row's largest count) or ``similar`` (its score).

    Returns:
        The table of the N rows, its score in [0, 1] for counts.
    """
    row, size = relation.row_index(), relation.n_rows
    if relation.score is not None:
        strength = relation.score.float()
    else:
        strength = relation.weight().float()
        largest = torch.zeros(size, device=relation.device).scatter_reduce(0, row, strength, "amax")
        strength = strength / largest[row]
    order = torch.argsort(strength, descending=True, stable=True)  # rows are ordered by column: ties stay so
    order = order[torch.argsort(row[order], stable=True)]
    rank = torch.arange(len(order), device=relation.device) - relation.indptr[:-1][row]
    kept = rank < k
    col = torch.full((size, k), -1, dtype=torch.int32, device=relation.device)
    score = torch.zeros((size, k), dtype=torch.float16, device=relation.device)
    place = (row[kept], rank[kept])
    col[place], score[place] = relation.col[order][kept], strength[order][kept].to(torch.float16)
    return NeighborTable(col, score)


def entered(table: NeighborTable, vectors: Tensor, new: Tensor, k: int, positive: bool = False) -> NeighborTable:
    """The table with new items: their ``k`` nearest, and they themselves in the rows of those whose ``k`` nearest they
    are now among. A row that had more than ``k`` keeps its length.

    Where the table is that of the ``k`` nearest of the other ``vectors``, this is that of all of them.

    Args:
        table: of the first rows of ``vectors``, or of all, its scores cosines.
        vectors: float [N, d].
        new: int64 [C], rows that the table has nothing of.
        positive: whether neighbours are those with a positive cosine alone.
    """
    table = _padded(table, len(vectors))
    if not len(new):
        return table
    own = torch.arange(len(vectors) + 1, device=vectors.device)
    found = topk(vectors, vectors, min(k, len(new)), "cosine", Ragged(own, own[:-1]), among=new)
    score, col = _cut(*found, positive)
    had = (table.col >= 0).sum(1)
    last = table.score.gather(1, (had - 1).clamp(min=0)[:, None])[:, 0]
    better = (col[:, 0] >= 0) & ((had < k) | (score[:, 0] > last))
    rows = better.nonzero()[:, 0]
    width = table.col.shape[1]
    both = torch.cat([table.col[rows], col[rows]], 1)
    value = torch.cat([table.score[rows], score[rows]], 1).masked_fill(both < 0, -torch.inf)
    value, order = torch.sort(value, dim=1, descending=True, stable=True)
    beyond = torch.arange(width, device=rows.device) >= had[rows].clamp(min=k)[:, None]
    both = both.gather(1, order)[:, :width].masked_fill(beyond, -1)
    table.col[rows], table.score[rows] = both, value[:, :width].masked_fill(both < 0, 0)
    return _with_own(table, vectors, new, k, positive)


def linked(table: NeighborTable, vectors: Tensor, new: Tensor, k: int) -> NeighborTable:
    """The table with rows of new items, their ``k`` nearest with a positive cosine, and they themselves in the rows of
    these, whatever the scores there, which are of another kind; only where a row is full its last ones make room."""
    table = _with_own(_padded(table, len(vectors)), vectors, new, k, positive=True)
    place, at = (table.col[new] >= 0).nonzero(as_tuple=True)
    row, col, score = table.col[new][place, at].long(), new[place], table.score[new][place, at]
    order = torch.sort(score, descending=True, stable=True).indices
    order = order[torch.sort(row[order], stable=True).indices]
    rows, group, count = torch.unique_consecutive(row[order], return_inverse=True, return_counts=True)
    if not len(rows):
        return table
    rank = torch.arange(len(order), device=row.device) - (count.cumsum(0) - count)[group]
    width = table.col.shape[1]
    more = table.col.new_full((len(rows), int(count.max())), -1)
    near = table.score.new_zeros(more.shape)
    more[group, rank], near[group, rank] = col[order].to(torch.int32), score[order]
    room = (width - count.clamp(max=width))[:, None]
    old = table.col[rows].masked_fill(torch.arange(width, device=row.device) >= room, -1)
    both, value = torch.cat([old, more], 1), torch.cat([table.score[rows], near], 1)
    value, best = torch.sort(value.masked_fill(both < 0, -torch.inf), dim=1, descending=True, stable=True)
    both = both.gather(1, best)[:, :width]
    table.col[rows], table.score[rows] = both, value[:, :width].masked_fill(both < 0, 0)
    return table


def alone(table: NeighborTable, vectors: Tensor, new: Tensor) -> NeighborTable:
    """The table with rows of new items: their nearest with a positive cosine. They are in nobody else's row."""
    return _with_own(_padded(table, len(vectors)), vectors, new, table.col.shape[1], positive=True)


def _padded(table: NeighborTable, n: int) -> NeighborTable:
    """A copy with ``n`` rows, the last ones empty."""
    more = (0, 0, 0, n - len(table))
    pad = torch.nn.functional.pad
    return NeighborTable(pad(table.col, more, value=-1).clone(), pad(table.score, more).clone())


def _with_own(table: NeighborTable, vectors: Tensor, new: Tensor, k: int, positive: bool) -> NeighborTable:
    itself = Ragged(torch.arange(len(new) + 1, device=new.device), new)
    score, col = _cut(*topk(vectors[new], vectors, k, "cosine", itself), positive)
    table.col[new, : col.shape[1]], table.score[new, : col.shape[1]] = col, score
    return table


def _cut(score: Tensor, col: Tensor, positive: bool) -> tuple[Tensor, Tensor]:
    """Found neighbours as a table has them: float16 and int32, 0 and -1 where there are none."""
    if positive:
        col = torch.where(score > 0, col, -1)
    half = torch.finfo(torch.float16)
    score = torch.where(col >= 0, score.clamp(half.min, half.max), 0.0)
    return score.to(torch.float16), col.to(torch.int32)
