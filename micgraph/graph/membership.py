"""Which nodes are neighbours of which: exact masks of false negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from micgraph.graph.reading import search
from micgraph.graph.relation import Relation, spans


def members(rel: Relation, rows: Tensor, cols: Tensor) -> Tensor:
    """Whether there is an edge from each row to each column.

    Args:
        rows: int64 [B].
        cols: int64 [C], repeats allowed.

    Returns:
        bool [B, C].
    """
    rows, cols = rows.long(), cols.long()
    if rel.device.type == "cpu":
        return _compiled(rel, rows, cols)
    return _by_search(rel, rows, cols) if rel.time is None else _by_table(rel, rows, cols)


def _compiled(rel: Relation, rows: Tensor, cols: Tensor) -> Tensor:
    """By the edges of the rows, or by those of the columns where these are much fewer."""
    of_rows, of_cols = (
        size * rel.n_edges / max(n, 1) for size, n in ((len(rows), rel.n_rows), (len(cols), rel.n_cols))
    )
    fewer = rel.n_rows / 8 + 2 * of_cols < of_rows
    return (_by_columns if fewer else _by_rows)(rel, rows, cols)


def _by_rows(rel: Relation, rows: Tensor, cols: Tensor) -> Tensor:
    from micgraph.graph import row_kernel

    distinct, which = torch.unique(rows, return_inverse=True)  # a batch of clicks has active users several times
    mask = torch.zeros(len(distinct), len(cols), dtype=torch.bool)
    place = torch.full((rel.n_cols,), -1, dtype=torch.int64)
    row_kernel.members(*(x.numpy() for x in (rel.indptr, rel.col, distinct, cols, place, mask)))
    return mask[which]


def _by_columns(rel: Relation, rows: Tensor, cols: Tensor) -> Tensor:
    from micgraph.graph import row_kernel

    mask = torch.zeros(len(rows), len(cols), dtype=torch.bool)
    place = torch.full((rel.n_rows,), -1, dtype=torch.int32)
    row_kernel.members_by_column(*(x.numpy() for x in (*rel.sources, rows, cols, place, mask)))
    return mask


def _by_table(rel: Relation, rows: Tensor, cols: Tensor) -> Tensor:
    """Every edge of the rows looked up in a table of the columns' places; a last column takes those without a place."""
    place = torch.full((rel.n_cols,), len(cols), dtype=torch.int64, device=rel.device)
    place[cols] = torch.arange(len(cols), device=rel.device)  # of equal columns one, whichever, stands for all
    owner, eid = spans(rel.indptr[rows], rel.degree(rows))
    mask = torch.zeros(len(rows), len(cols) + 1, dtype=torch.bool, device=rel.device)
    mask[owner, place[rel.col[eid].long()]] = True
    return mask[:, place[cols]]


def _by_search(rel: Relation, rows: Tensor, cols: Tensor) -> Tensor:
    """A binary search for every pair, in rows ordered by column: a GPU need not be asked how many edges there are."""
    shape = (len(rows), len(cols))
    if not rel.n_edges:
        return torch.zeros(shape, dtype=torch.bool, device=rel.device)
    start, end = (at[:, None].expand(shape).reshape(-1) for at in (rel.indptr[rows], rel.indptr[rows + 1]))
    want = cols[None, :].expand(shape).reshape(-1)
    at = search(rel.col, start, end, want, False, rel.longest)
    return ((at < end) & (rel.col[at.clamp(max=rel.n_edges - 1)] == want)).view(shape)
