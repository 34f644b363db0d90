"""Exact products of a sparse matrix with its own transpose, in blocks of rows, keeping the best of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from micgraph.progress import progress_bar

Rescale = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]
Edges = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]
"""Source, destination and value of every edge, ordered by (source, destination)."""
Cut = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], Edges]

BLOCK = 1 << 24  # products per block: some 300 MB of temporaries


def gram(
    a: sparse.csr_matrix,
    k: int | None = None,
    rescale: Rescale | None = None,
    near: bool = False,
    cut: Cut | None = None,
) -> Edges:
    """Off-diagonal entries of ``a @ a.T``, all of them or the ``k`` largest of each row.

    Args:
        a: [N, M], without duplicate entries.
        k: how many to keep a row; ties as in :func:`keep_top`.
        rescale: (row, col, value) -> value, applied before the cut.
        near: see :func:`keep_top`.
        cut: instead of ``k``: what makes edges of all entries of some rows, those of the diagonal too.

    Returns:
        Edges whose values are not zero.
    """
    transposed = a.T.tocsr()

    def block(bounds: tuple[int, int]) -> Edges:
        product = (a[bounds[0] : bounds[1]] @ transposed).tocoo()
        row, col, value = product.row.astype(np.int64) + bounds[0], product.col.astype(np.int64), product.data
        if cut is None:
            keep = row != col
            row, col, value = row[keep], col[keep], value[keep]
        if rescale is not None:
            value = rescale(row, col, value)
        if cut is not None:
            return cut(row, col, value)
        if k is not None:
            row, col, value = keep_top(row, col, value, k, a.shape[0], near)
        order = np.argsort(row * a.shape[0] + col)
        return row[order], col[order], value[order]

    parts = _in_blocks(block, a, transposed)
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, a.dtype)
    row, col, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    if cut is not None:
        order = np.lexsort((col, row))
        row, col, value = row[order], col[order], value[order]
    return row, col, value


def keep_top(
    row: NDArray[np.int64], col: NDArray[np.int64], value: NDArray[Any], k: int, n: int, near: bool = False
) -> Edges:
    """The ``k`` largest values of each row.

    Args:
        row: int64 [E], grouped.
        col, value: [E].
        k: how many to keep.
        n: number of columns.
        near: ties go to the next larger column, cyclically, instead of the smallest one, so that among many
            equals each row keeps others and no column becomes everybody's neighbour.

    Returns:
        The kept edges, in no particular order.
    """
    if not len(row) or k <= 0:
        return row[:0], col[:0], value[:0]
    _, start, place, degree = np.unique(row, return_index=True, return_inverse=True, return_counts=True)
    key = place - value.astype(np.float64) / (2 * np.abs(value).max() + 1e-300)
    threshold = np.sort(key)[start + np.minimum(k, degree) - 1]  # rows stay apart: the fraction is within +-0.5
    keep = key <= threshold[place]  # a superset: the k best, and what ties with the last of them
    row, col, value = row[keep], col[keep], value[keep]
    order = np.lexsort(((col - row) % n if near else col, -value, row))
    row, col, value = row[order], col[order], value[order]
    first = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    rank = np.arange(len(row)) - np.repeat(first, np.diff(np.r_[first, len(row)]))
    return row[rank < k], col[rank < k], value[rank < k]


def _in_blocks(
    block: Callable[[tuple[int, int]], Edges], a: sparse.csr_matrix, transposed: sparse.csr_matrix
) -> list[Edges]:
    """What ``block`` makes of ranges of rows of about :data:`BLOCK` products each, in their order, with a bar."""
    per_entry = np.diff(transposed.indptr)[a.indices].astype(np.int64)
    cost = np.concatenate([[0], np.cumsum(per_entry)])[a.indptr]
    ranges, parts = list(_blocks(cost)), []
    with (
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
        progress_bar(total=int(cost[-1]), desc="items alike", unit="pair", unit_scale=True) as bar,
    ):
        for (begin, end), part in zip(ranges, pool.map(block, ranges), strict=True):
            parts.append(part)
            bar.update(int(cost[end] - cost[begin]))
    return parts


def _blocks(cost: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < len(cost) - 1:
        end = max(int(np.searchsorted(cost, cost[begin] + BLOCK, side="right")) - 1, begin + 1)
        yield begin, end
        begin = end
