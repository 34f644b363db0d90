"""Searches by FAISS made into answers: more is fetched than asked for, and what a query must not get is dropped."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.knn.flat import load_faiss
from micgraph.knn.ragged import Ragged

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Searcher(Protocol):
    """What gives the best by inner product; an index of FAISS is one."""

    def search(self, queries: Floats, size: int) -> Any:
        """Scores and ids [B, size] as arrays for float32 [B, d], best first; the id is -1 where fewer were found."""


class Exactly:
    """Inner products of queries with vectors that are named for each, by FAISS on the CPU.

    Args:
        vectors: float32 [N, d].
        cosine: whether the vectors (not the queries) are to be brought to length 1.
    """

    def __init__(self, vectors: Tensor, cosine: bool = False) -> None:
        self.vectors: Floats = vectors.cpu().contiguous().numpy()
        self.length: Floats | None = np.linalg.norm(self.vectors, axis=1).clip(1e-12) if cosine else None

    def __call__(self, queries: Floats, ids: Ints) -> Floats:
        """Scores float32 [B, C] of queries [B, K, d], of which the best counts, with ``ids`` int64 [B, C]."""
        faiss = load_faiss("kind")
        ids = np.maximum(ids, 0)
        score, best = np.empty(ids.shape, np.float32), np.full(ids.shape, -np.inf, np.float32)
        for one in range(queries.shape[1]):
            query = np.ascontiguousarray(queries[:, one])
            pointers = (faiss.swig_ptr(x) for x in (score, query, self.vectors, ids))
            faiss.fvec_inner_products_by_idx(*pointers, query.shape[1], *ids.shape)
            np.maximum(best, score, out=best)
        if self.length is not None:
            best /= self.length[ids]
        return best


def fetch(
    searcher: Searcher,
    queries: Tensor,
    n: int,
    k: int,
    exclude: Ragged | None = None,
    exactly: Exactly | None = None,
    refine: int = 1,
) -> tuple[Tensor, Tensor]:
    """The ``k`` best for each query among what a search finds, equal scores by smaller id.

    FAISS cannot leave ids out for one query only, so a query gets room for as many more as it must not get (the next
    power of two: a query's answer does not depend on those beside it).

    Args:
        searcher: searches ``n`` vectors.
        queries: float32 [B, d] or [B, K, d], where the best of a query's vectors scores.
        exclude: ids that a query must not get.
        exactly: gives the scores in the place of the searcher; needed where queries have several vectors.
        refine: how many times ``k`` to fetch.

    Returns:
        scores float32 and ids int64 [B, k]; score -inf and id -1 where fewer were found.
    """
    from micgraph.knn.fetch_kernel import best

    every = queries.cpu().numpy()
    value, ids = np.full((len(every), k), -np.inf, np.float32), np.full((len(every), k), -1)
    for room, rows, indptr, items in _groups(len(every), exclude):
        asked = every if rows is None else every[rows]
        size = max(1, min(n, refine * k + room))
        score, found = searcher.search(np.ascontiguousarray(asked.reshape(-1, every.shape[-1])), size)
        score, found = score.reshape(len(asked), -1), found.reshape(len(asked), -1)
        if exactly is not None:
            score = exactly(asked.reshape(len(asked), -1, every.shape[-1]), found)
        part = (value, ids) if rows is None else (value[rows], ids[rows])
        best(score, found, indptr, items, exactly is None, *part)
        if rows is not None:
            value[rows], ids[rows] = part
    return torch.from_numpy(value).to(queries.device), torch.from_numpy(ids).to(queries.device)


def _groups(n: int, exclude: Ragged | None) -> list[tuple[int, Ints | None, Ints, Ints]]:
    """Queries that need the same room: the room, the queries (None: all) and their lists of ``exclude``."""
    if exclude is None:
        return [(0, None, np.zeros(n + 1, np.int64), np.empty(0, np.int64))]
    lists = Ragged(exclude.indptr.cpu(), exclude.items.cpu())
    indptr, items = lists.indptr.numpy(), lists.items.numpy()
    rooms = [0 if length == 0 else 1 << (int(length) - 1).bit_length() for length in np.diff(indptr)]
    if len(set(rooms)) < 2:
        return [(max(rooms, default=0), None, indptr, items)]
    groups: list[tuple[int, Ints | None, Ints, Ints]] = []
    for room in sorted(set(rooms)):
        rows = np.flatnonzero(np.array(rooms) == room)
        own = lists.pick(torch.from_numpy(rows))
        groups.append((room, rows, own.indptr.numpy(), own.items.numpy()))
    return groups
