"""What people click after an item, by a linear model: directed neighbours for I2I, made of the clicks alone."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from micgraph.graph.relation import Relation
from micgraph.knn import NeighborTable
from micgraph.schema import ConfigError

MAX_ITEMS = 20_000
RIDGE = 300.0
BLOCK = 100_000
"""Clicks at a time, which bounds the memory to BLOCK * window entries."""


def following(clicks: Relation, window: int, decay: float, k: int) -> NeighborTable:
    """Item -> the items whose clicks it announces best: EASE's idea for sequences.

    ``B = (XᵀX + ridge I)⁻¹ XᵀY``, where a row of X holds a user's latest ``window`` clicks, each one back counting
    ``decay`` times the one after it, and the same row of Y the ``window`` clicks that came next. The inverse takes away
    what items merely share with popular ones, which counts of co-occurrence do not.

    Args:
        clicks: user -> item, in the order of time.
        window: how many clicks are read, and how many are to be foretold.
        decay: in (0, 1].
        k: neighbours of each item; those with positive weight, the largest first.

    Raises:
        ConfigError: more than ``MAX_ITEMS`` items: the matrix is dense.
    """
    if clicks.n_cols > MAX_ITEMS:
        remedy = "take near, or co_occurs"
        raise ConfigError("fusion.neighbors", f"at most {MAX_ITEMS:,} items", f"{clicks.n_cols:,}", remedy)
    gram, cross = _products(clicks, window, decay)
    gram[np.diag_indices(len(gram))] += RIDGE
    weights = scipy.linalg.solve(gram, cross, assume_a="pos", overwrite_a=True, overwrite_b=True, check_finite=False)
    np.fill_diagonal(weights, 0)
    score, col = torch.from_numpy(weights).topk(min(k, len(weights)), dim=1)
    return NeighborTable.positive(score.to(clicks.device), col.to(clicks.device))


def _products(clicks: Relation, window: int, decay: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``XᵀX`` and ``XᵀY``, float32 [N, N] each."""
    n, col, row = clicks.n_cols, clicks.col.long().cpu().numpy(), clicks.row_index().cpu().numpy()
    gram, cross = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    for start in range(0, len(col), BLOCK):
        here = np.arange(start, min(start + BLOCK, len(col)))
        past = _bag(col, row, here, -np.arange(window), decay, n)
        gram += (past.T @ past).toarray()
        cross += (past.T @ _bag(col, row, here, 1 + np.arange(window), 1.0, n)).toarray()
    return gram, cross


def _bag(
    col: NDArray[np.int64],
    row: NDArray[np.int64],
    here: NDArray[np.int64],
    steps: NDArray[np.int64],
    decay: float,
    n_items: int,
) -> sp.csr_matrix:
    """The items at ``steps`` from each click ``here``, of the same user: [len(here), n_items]."""
    at = here[:, None] + steps
    inside = (at >= 0) & (at < len(col))
    inside &= row[at.clip(0, len(col) - 1)] == row[here][:, None]
    weight = np.broadcast_to((decay ** np.arange(len(steps))).astype(np.float32), at.shape)[inside]
    place = np.broadcast_to(np.arange(len(here))[:, None], at.shape)[inside]
    return sp.csr_matrix((weight, (place, col[at[inside]])), (len(here), n_items))
