"""Which held-out events are clicks of a graph."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from micgraph.graph.relation import Relation, spans

_SPAN = 2**33  # seconds since the epoch and numbers of pairs share one integer


def among_clicks(
    clicks: Relation, user: NDArray[np.int64], item: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Look for events among the clicks of a graph; only the rows of their users are read.

    Args:
        clicks: user -> item, with times.
        user, item: [S], internal numbers; an event of an unknown user or item (negative or beyond the graph's) is none
            of the clicks.
        second: [S], whole seconds since the graph's epoch.

    Returns:
        bool [S], which events are clicks to the second; bool [S], which have a click of the same user on the same item
        at any time.
    """
    exact, at_all = np.zeros(len(user), dtype=bool), np.zeros(len(user), dtype=bool)
    can_be = np.flatnonzero((user >= 0) & (item >= 0) & (user < clicks.n_rows) & (item < clicks.n_cols))
    pairs, place = np.unique(user[can_be] * clicks.n_cols + item[can_be], return_inverse=True)
    if not len(pairs) or not clicks.n_edges or clicks.time is None:
        return exact, at_all
    rows = torch.from_numpy(np.unique(pairs // clicks.n_cols)).to(clicks.device)
    owner, eid = spans(clicks.indptr[rows], clicks.degree(rows))
    edge = (rows[owner] * clicks.n_cols + clicks.col[eid]).cpu().numpy()
    at = np.searchsorted(pairs, edge).clip(max=len(pairs) - 1)
    shared = pairs[at] == edge
    moments = at[shared] * _SPAN + clicks.time[eid].cpu().numpy()[shared].astype(np.int64)
    exact[can_be] = np.isin(place * _SPAN + second[can_be], moments)
    at_all[can_be] = np.isin(place, at[shared])
    return exact, at_all
