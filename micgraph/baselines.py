"""Reference rows that every table shows: popularity, item-based neighbours and EASE.

All three answer from the history they are given ("fold-in"), so a user that the graph never saw gets the same
service as one that it knows. Equal scores go to the more popular item, then to the smaller index: a user with an
empty history, of whom the models know nothing, gets the popularity list, and no order of rows leaks into a ranking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph import metrics
from micgraph.graph.sparse import gram
from micgraph.graph.times import SECOND, duration
from micgraph.knn import Ragged
from micgraph.retrieval.autoencoder import Autoencoder, check_size, clicked
from micgraph.schema import CLICKS, ConfigError

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph

PRODUCTS = 2**24
"""Scores or candidates held at once while ranking."""


class Popularity:
    """The most clicked items, the same for everybody.

    Args:
        window: how long before the graph's last click to count, such as ``"6h"`` or ``"2d"``; the whole graph by
            default. Items without a click in the window follow in the order of all clicks.
    """

    def __init__(self, window: str | None = None) -> None:
        self.window = window
        self.name = "popularity" if window is None else f"popularity {window}"
        self._seconds = None if window is None else duration(window, "window") // SECOND

    def fit(self, graph: RecGraph) -> Self:
        """Count the clicks of ``graph``."""
        since = None if self._seconds is None else graph.last_time - self._seconds
        self._order = _by_popularity(graph, since)
        return self

    def rank(self, histories: Ragged, users: Tensor, k: int, exclude: Ragged | None = None) -> Tensor:
        """The k most popular items that are not excluded.

        Args:
            histories: items of each user, oldest first; not read.
            users: int64 [B], not read.
            k: length of the lists.
            exclude: items that a user must not be shown.

        Returns:
            int64 [B, k], -1 where fewer than k items are left.
        """
        return _fill(torch.full((len(users), k), -1), self._order, exclude)


class ItemKNN:
    """Cosine of co-occurrence: ``sim(i, j) = |users of both| / sqrt(|users of i| |users of j|)``, summed over the
    history's items.

    Args:
        k: neighbours kept for each item (ties by smaller index).
    """

    name = "itemknn"

    def __init__(self, k: int = 200) -> None:
        if k < 1:
            raise ConfigError("k", "at least 1 neighbour", k, "pass for example k=200")
        self.k = k

    def fit(self, graph: RecGraph) -> Self:
        """Count common users of items, in blocks: memory grows with ``n_items * k``, not with all pairs."""
        self._order = _by_popularity(graph)
        self._place = np.argsort(self._order)
        x = clicked(graph.relation(CLICKS)).T.tocsr()
        fans = np.maximum(np.diff(x.indptr), 1).astype(np.float32)
        row, col, cosine = gram(x, self.k, lambda i, j, common: common / np.sqrt(fans[i] * fans[j]))
        self._weights = sp.csr_matrix((cosine, (row, col)), (x.shape[0], x.shape[0]))
        return self

    def rank(self, histories: Ragged, users: Tensor, k: int, exclude: Ragged | None = None) -> Tensor:
        """The k items with the highest score for each history.

        Args:
            histories: items of each user; how often and in which order they were clicked is not read.
            users: int64 [B], not read.
            k: length of the lists.
            exclude: items that a user must not be shown.

        Returns:
            int64 [B, k], -1 where fewer than k items are left.
        """
        x = _binary(histories, len(self._order))
        blocks = _blocks(x.shape[0], PRODUCTS // (self.k * int(np.diff(x.indptr).max(initial=1))))
        parts = [_largest(x[i:j] @ self._weights, self._place, k, exclude and exclude.rows(i, j)) for i, j in blocks]
        return _fill(torch.cat([torch.full((0, k), -1), *parts]), self._order, exclude)


class EASE:
    """Embarrassingly shallow autoencoder (Steck 2019), see :class:`micgraph.retrieval.autoencoder.Autoencoder`.

    Args:
        l2: the ridge; 1000 suits MovieLens-1M.
    """

    name = "ease"

    def __init__(self, l2: float = 1000.0) -> None:
        if l2 <= 0:
            raise ConfigError("l2", "a ridge above 0", l2, "pass for example l2=1000")
        self.l2 = l2

    def fit(self, graph: RecGraph) -> Self:
        """Invert the dense matrix of items, or of users where they are fewer.

        Raises:
            InputError: more items and users than fit, see :class:`micgraph.retrieval.autoencoder.Autoencoder`.
        """
        self._order = _by_popularity(graph)
        self._place = np.argsort(self._order)
        check_size(graph.n_users, graph.n_items)
        self._model = Autoencoder(
            clicked(graph.relation(CLICKS))[:, self._order], self.l2
        )  # columns by popularity, so that ties are too
        return self

    def rank(self, histories: Ragged, users: Tensor, k: int, exclude: Ragged | None = None) -> Tensor:
        """The k items with the highest score for each history.

        Args:
            histories: items of each user; how often and in which order they were clicked is not read.
            users: int64 [B], not read.
            k: length of the lists.
            exclude: items that a user must not be shown.

        Returns:
            int64 [B, k], -1 where fewer than k items are left.
        """
        x = _binary(histories, len(self._order))
        place, items = torch.from_numpy(self._place), torch.from_numpy(self._order)
        top = torch.full((x.shape[0], k), -1)
        for begin, end in _blocks(x.shape[0], PRODUCTS // len(items)):
            scores = torch.from_numpy(self._model.scores(x[begin:end][:, self._order]))
            if exclude is not None:
                owner, item = _known(exclude.rows(begin, end))
                scores[owner, place[item]] = -torch.inf
            best = _first(scores, min(k, len(items)))
            top[begin:end, : best.shape[1]] = torch.where(best >= 0, items[best], -1)
        return top


def _binary(rows: Ragged, n_items: int) -> sp.csr_matrix:
    owner, item = (x.numpy() for x in _known(rows))
    matrix = sp.csr_matrix((np.ones(len(item), np.float32), (owner, item)), (rows.n_rows, n_items))
    matrix.data[:] = 1  # building it summed what was there twice
    return matrix


def _by_popularity(graph: RecGraph, since: int | None = None) -> NDArray[np.int64]:
    """Items by clicks since a time (seconds since the graph's epoch), then by all clicks, then by index: [n_items]."""
    total = graph.popularity().cpu().numpy()
    recent = graph.popularity(since).cpu().numpy()
    return np.lexsort((np.arange(len(total)), -total, -recent))


def _known(rows: Ragged) -> tuple[Tensor, Tensor]:
    """Row and item of everything that is not -1."""
    known = rows.items >= 0
    return rows.owner()[known], rows.items[known]


def _blocks(n_rows: int, size: int) -> list[tuple[int, int]]:
    step = max(size, 1)
    return [(begin, min(begin + step, n_rows)) for begin in range(0, n_rows, step)]


def _largest(scores: sp.csr_matrix, place: NDArray[np.int64], k: int, exclude: Ragged | None) -> Tensor:
    """Columns of the k largest entries of each sparse row, without the excluded ones, ties by ``place``.

    Returns:
        int64 [B, k], -1 where a row has fewer entries.
    """
    if exclude is not None:
        scores = scores - scores.multiply(_binary(exclude, scores.shape[1]))  # x - x is exactly 0
    entries = scores.tocoo()
    kept = entries.data > 0
    row, col, value = entries.row[kept], entries.col[kept], entries.data[kept]
    order = np.lexsort((place[col], -value, row))
    row, col = row[order], col[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    top = np.full((scores.shape[0], k), -1, dtype=np.int64)
    top[row[rank < k], rank[rank < k]] = col[rank < k]
    return torch.from_numpy(top)


def _fill(top: Tensor, order: NDArray[np.int64], exclude: Ragged | None) -> Tensor:
    """Replace the -1 at the end of each list by the first items of ``order`` that are neither in it nor excluded."""
    rows, k = top.shape
    longest = 0 if exclude is None else int(exclude.indptr.diff().max()) if rows else 0
    spare = torch.from_numpy(order[: 2 * k + longest])
    filled = torch.full_like(top, -1)
    for begin, end in _blocks(rows, PRODUCTS // max(len(spare), 1)):
        head = top[begin:end]
        candidates = torch.cat([head, spare.expand(end - begin, -1)], 1)
        out = metrics.repeated(candidates) | (candidates < 0)
        if exclude is not None:
            out |= exclude.rows(begin, end).contains(candidates)
        first = torch.sort(out.to(torch.uint8), dim=1, stable=True).indices[:, :k]
        filled[begin:end, : first.shape[1]] = candidates.gather(1, first).masked_fill(out.gather(1, first), -1)
    return filled


def _first(scores: Tensor, k: int) -> Tensor:
    """Columns of the k largest finite scores of each row, ties by smaller column, -1 for the rest: int64 [B, k].

    ``torch.topk`` orders ties as it pleases. Here a score and its column make one integer that is larger for the
    better of two: an IEEE float's bits, read as an integer with the sign undone, sort like the float.
    """
    bits = (scores + 0.0).contiguous().view(torch.int32)  # + 0.0 turns -0.0, which has other bits, into 0.0
    rising = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()
    key = (rising << 32) | (scores.shape[1] - torch.arange(scores.shape[1]))
    best = scores.shape[1] - (torch.topk(key, k, dim=1).values & 0xFFFFFFFF)
    return torch.where(scores.gather(1, best) > -torch.inf, best, -1)
