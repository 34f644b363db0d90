"""EASE: a linear model of what else people click, as a row of tables and as I2I's neighbours."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from micgraph.graph.relation import Relation
from micgraph.knn import NeighborTable
from micgraph.schema import InputError

MAX_SIDE = 20_000
MAX_CELLS = 2**29
"""Of float32: 2 GiB."""
BLOCK = 2**26
"""Weights at a time while neighbours are looked for: 256 MiB."""
RIDGE = 1000.0
"""Of the neighbours: what suits films and groceries, see docs/results.md."""


class Autoencoder:
    """The embarrassingly shallow autoencoder (Steck 2019): ``B = -P / diag(P)`` with ``P = (XᵀX + l2 I)⁻¹`` and a zero
    diagonal.

    Where there are fewer users than items, P is had from the users' side, ``l2 P = I - Xᵀ A`` with
    ``A = (XXᵀ + l2 I)⁻¹ X`` (Woodbury), and no item-item matrix is ever made; the scores are the same.

    Args:
        x: float32 [U, N], who clicked what, as ones. See :func:`check_size` for what fits.
        l2: the ridge, above 0.
    """

    def __init__(self, x: sp.csr_matrix, l2: float) -> None:
        n_users, self.n_items = x.shape
        self._users = x if n_users < self.n_items else None
        if self._users is None:
            weights = _inverse((x.T @ x).toarray(order="F"), l2, np.eye(self.n_items, dtype=np.float32))
            self._own = np.zeros(self.n_items, np.float32)
            weights /= -np.diag(weights)
            weights[np.diag_indices(self.n_items)] = 0
            self._weights, self._rest = weights, np.ones(self.n_items, np.float32)
        else:
            self._weights = _inverse((x @ x.T).toarray(order="F"), l2, x.toarray())
            self._own = np.asarray(x.multiply(self._weights).sum(0), np.float32).ravel()
            self._rest = 1 - self._own

    def scores(self, x: sp.csr_matrix) -> NDArray[np.float32]:
        """``x B`` of histories float32 [B, N]: float32 [B, N]."""
        left = x if self._users is None else (x @ self._users.T).toarray()
        scores: NDArray[np.float32] = np.asarray(left @ self._weights) - x.multiply(self._own).toarray()
        scores /= self._rest
        return scores

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows of ``B``: float32 [stop - start, N], the scores of histories of one item each."""
        if self._users is None:
            return self._weights[start:stop]
        scores = np.asarray(self._users.T[start:stop] @ self._weights, np.float32)
        scores[np.arange(stop - start), np.arange(start, stop)] = 0
        scores /= self._rest
        return scores


def announced(clicks: Relation, k: int, l2: float = RIDGE) -> NeighborTable:
    """Item -> the items that it announces best, whoever clicked it and whenever: the rows of EASE's B.

    Args:
        clicks: user -> item.
        k: neighbours of each item; those with positive weight, the largest first.
        l2: the ridge.

    Raises:
        InputError: see :func:`check_size`.
    """
    check_size(clicks.n_rows, clicks.n_cols)
    model, size = Autoencoder(clicked(clicks), l2), clicks.n_cols
    step = max(BLOCK // size, 1)
    blocks = (model.rows(start, min(start + step, size)) for start in range(0, size, step))
    parts = [torch.from_numpy(block).topk(min(k, size)) for block in blocks]
    score, col = (torch.cat([part[at] for part in parts]) for at in (0, 1))
    return NeighborTable.positive(score.to(clicks.device), col.to(clicks.device))


def clicked(clicks: Relation) -> sp.csr_matrix:
    """Who clicked what, as ones: float32 [n_users, n_items]."""
    pairs = (clicks.row_index().cpu().numpy(), clicks.col.cpu().numpy())
    matrix = sp.csr_matrix((np.ones(clicks.n_edges, np.float32), pairs), (clicks.n_rows, clicks.n_cols))
    matrix.data[:] = 1  # building it summed what was there twice
    return matrix


def check_size(n_users: int, n_items: int) -> None:
    """Refuse what would not fit into memory.

    Raises:
        InputError: more than ``MAX_SIDE`` items and as many users; or fewer users than items, and their product,
            which the users' side holds densely, is above ``MAX_CELLS``.
    """
    n = min(n_items, n_users)
    remedy = "use itemknn or co_occurs instead, or split a log without the rarest items"
    if n > MAX_SIDE:
        need = f"{n_items:,} items and {n_users:,} users: a matrix of {n * n * 4 / 2**30:.0f} GiB"
        raise InputError("graph", f"at most {MAX_SIDE:,} items or users for EASE", need, remedy)
    if (cells := n * n_items) > MAX_CELLS:
        need = f"{n:,} users x {n_items:,} items: a matrix of {cells * 4 / 2**30:.0f} GiB"
        raise InputError("graph", f"at most {MAX_CELLS:,} users x items for EASE", need, remedy)


def _inverse(gram: NDArray[np.float32], l2: float, right: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(gram + l2 I)⁻¹ right``, in the memory of both."""
    gram[np.diag_indices(len(gram))] += l2
    factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    return scipy.linalg.cho_solve(factor, right, overwrite_b=True, check_finite=False)  # type: ignore[no-any-return]
