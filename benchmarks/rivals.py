"""What a build is compared with: the same pipeline in pandas and scipy, and implicit's item-item model."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

HOUR = 3_600


@dataclass
class Timed:
    """Seconds by stage, one stage after the other."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def stage(self, name: str) -> None:
        """What was done since the last call."""
        now = time.perf_counter()
        self.seconds[name] = now - self.last
        self.last = now


def pandas_build(
    files: list[str], columns: dict[str, str], ticks: int, top_k: int
) -> tuple[sparse.csr_matrix, sparse.csr_matrix, Timed]:
    """Read, number, sort and clean a log, cut it into sessions, and count co-occurrence.

    Args:
        columns: the files' names of user, item and timestamp -> ours.
        ticks: of the timestamps, a second.
        top_k: how many counts to keep of each item.

    Returns:
        Sessions x items without repetitions, item x item truncated to ``top_k``, and the seconds of the stages.
    """
    timed = Timed()
    log = pd.concat([pd.read_parquet(file, columns=list(columns)) for file in files], ignore_index=True)
    log = log.rename(columns=columns)
    timed.stage("read")
    for name in ("user_id", "item_id"):
        log[name] = pd.factorize(log[name], sort=True)[0]
    log = log.sort_values(["user_id", "timestamp", "item_id"])
    log["second"] = log["timestamp"] // ticks
    log = log.drop_duplicates(["user_id", "item_id", "second"], ignore_index=True)
    timed.stage("number, sort, clean")
    session = _sessions(log, HOUR * ticks)
    timed.stage("sessions")
    shape = (int(session.iloc[-1]) + 1, int(log["item_id"].max()) + 1)
    baskets = sparse.csr_matrix((np.ones(len(log), np.int32), (session, log["item_id"])), shape=shape)
    baskets.data[:] = 1
    timed.stage("matrix")
    counts = product(baskets)
    timed.stage("product")
    counts = truncated(counts, top_k)
    timed.stage("truncate")
    return baskets, counts, timed


def _sessions(log: pd.DataFrame, hour: int) -> pd.Series[int]:
    """Sessions that pauses of more than an hour end, and that last an hour at the most."""
    moment = log["timestamp"]
    starts = (log["user_id"].diff() != 0) | (moment.diff() > hour)
    while True:
        session = starts.cumsum() - 1
        late = moment - moment.groupby(session).transform("first") > hour
        if not late.any():
            return session
        first_late = late & ~late.groupby(session).shift(fill_value=False)
        starts |= first_late


def product(baskets: sparse.csr_matrix) -> sparse.csr_matrix:
    """Co-occurrence counts by one sparse product."""
    return baskets.T.tocsr() @ baskets


def truncated(counts: sparse.csr_matrix, top_k: int) -> sparse.csr_matrix:
    """The largest counts of each row without the diagonal, ties to the smaller item, ordered by item."""
    counts.sort_indices()
    ptr, col, value = [0], [], []
    for row in range(counts.shape[0]):
        at = slice(counts.indptr[row], counts.indptr[row + 1])
        other, count = counts.indices[at], counts.data[at]
        keep = np.flatnonzero(other != row)
        keep = np.sort(keep[np.argsort(-count[keep], kind="stable")[:top_k]])
        col.append(other[keep])
        value.append(count[keep])
        ptr.append(ptr[-1] + len(keep))
    return sparse.csr_matrix((np.concatenate(value), np.concatenate(col), ptr), shape=counts.shape)


def implicit_knn(baskets: sparse.csr_matrix, k: int) -> tuple[sparse.csr_matrix, float] | None:
    """Counts of implicit's ItemItemRecommender on all threads, which has an item among its own ``k`` best, and the
    seconds that it took; None where implicit is not installed."""
    if find_spec("implicit") is None:
        return None
    from implicit.nearest_neighbours import ItemItemRecommender

    model: Any = ItemItemRecommender(K=k, num_threads=0)
    values = baskets.astype(np.float64)
    begun = time.perf_counter()
    model.fit(values, show_progress=False)
    return model.similarity, time.perf_counter() - begun


def ranked_counts(counts: sparse.csr_matrix, top_k: int) -> np.ndarray:
    """The largest counts of each row in falling order without the diagonal: [n, top_k], zeros where there are less.
    They are the same whichever way ties are broken."""
    found = np.zeros((counts.shape[0], top_k), np.int64)
    matrix = counts.tocoo()
    off = matrix.row != matrix.col
    row, value = matrix.row[off], matrix.data[off].astype(np.int64)
    order = np.lexsort((-value, row))
    row, value = row[order], value[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    keep = (place < top_k) & (value > 0)
    found[row[keep], place[keep]] = value[keep]
    return found
