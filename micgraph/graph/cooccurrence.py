"""How often two items were in one session: the positives of the session task (MicRec 3.4)."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from micgraph.graph.relation import Relation, row_cumsum
from micgraph.graph.sparse import gram


def co_occurrences(contains: Relation, top_k: int | None = None) -> Relation:
    """Count the sessions in which two distinct items are together.

    Args:
        contains: session -> item; an item that is several times in a session counts once.
        top_k: keep the largest counts of each item only (ties to the smaller item id). The result need not be
            symmetric then.

    Returns:
        item -> item, rows ordered by item, ``cum`` the prefix sums of the counts. Without ``top_k`` it is symmetric.
    """
    shape = (contains.n_rows, contains.n_cols)
    ones = np.ones(contains.n_edges, dtype=np.int32)
    sessions = sparse.csr_matrix((ones, contains.col.numpy(), contains.indptr.numpy()), shape=shape, copy=True)
    sessions.sum_duplicates()  # in place, hence the copy
    sessions.data[:] = 1
    row, col, count = gram(sessions.T.tocsr(), top_k)
    indptr = torch.zeros(shape[1] + 1, dtype=torch.int64)
    torch.cumsum(torch.from_numpy(np.bincount(row, minlength=shape[1])), 0, out=indptr[1:])
    cum = row_cumsum(indptr, torch.from_numpy(count))
    return Relation(indptr, torch.from_numpy(col.astype(np.int32)), shape[1], cum=cum)
