"""How often two items were in one session: the positives of the session task (MicRec 3.4)."""

from __future__ import annotations

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from micgraph.graph.relation import Relation, row_cumsum
from micgraph.graph.sparse import gram

logger = logging.getLogger(__name__)

LONG_SESSION = 2_000
"""Distinct items of a session above which a warning is logged: n items make n (n - 1) edges, here 4 million from one
session. People do not look at so much at a time; robots, imports and session ids that repeat do."""


def co_occurrences(contains: Relation, top_k: int | None = None) -> Relation:
    """Count the sessions in which two distinct items are together.

    Args:
        contains: session -> item; an item that is several times in a session counts once.
        top_k: keep the largest counts of each item only (ties to the smaller item id). The result need not be
            symmetric then.

    Returns:
        item -> item, rows ordered by item, ``cum`` the prefix sums of the counts. Without ``top_k`` it is symmetric.
        Time and memory grow with the square of a session's length, hence a warning above :data:`LONG_SESSION`.
    """
    shape = (contains.n_rows, contains.n_cols)
    ones = np.ones(contains.n_edges, dtype=np.int32)
    sessions = sparse.csr_matrix((ones, contains.col.numpy(), contains.indptr.numpy()), shape=shape, copy=True)
    sessions.sum_duplicates()  # in place, hence the copy
    sessions.data[:] = 1
    _warn_of_long_sessions(np.diff(sessions.indptr))
    row, col, count = gram(sessions.T.tocsr(), top_k)
    indptr = torch.zeros(shape[1] + 1, dtype=torch.int64)
    torch.cumsum(torch.from_numpy(np.bincount(row, minlength=shape[1])), 0, out=indptr[1:])
    cum = row_cumsum(indptr, torch.from_numpy(count))
    return Relation(indptr, torch.from_numpy(col.astype(np.int32)), shape[1], cum=cum)


def _warn_of_long_sessions(sizes: NDArray[np.int64]) -> None:
    """Name the size of the longest session, where it is too long, and what to do about it."""
    longest = int(sizes.max(initial=0))
    if longest > LONG_SESSION:
        logger.warning(
            "%d of %d sessions have more than %d distinct items, the longest %d, which alone makes %d co-occurrence "
            "edges; lower session_gap or session_span (where the log gives session ids: check them), or leave out "
            "the users who made these sessions",
            np.count_nonzero(sizes > LONG_SESSION),
            len(sizes),
            LONG_SESSION,
            longest,
            longest * (longest - 1),
        )
