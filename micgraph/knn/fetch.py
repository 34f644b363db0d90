"""Searches by FAISS made into answers: more is fetched than asked for, and what a query must not get is dropped."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from micgraph.knn.ragged import Ragged

BLOCK = 1 << 22
"""Numbers of vectors that are gathered at a time (float32: 16 MiB)."""


class Searcher(Protocol):
    """What gives the best by inner product; an index of FAISS is one."""

    def search(self, queries: Any, size: int) -> Any:
        """Scores and ids [B, size] as arrays for float32 [B, d], best first; the id is -1 where fewer were found."""


class Exactly:
    """Inner products of queries with vectors that are named for each.

    Args:
        vectors: float32 [N, d].
        cosine: whether the vectors (not the queries) must be brought to length 1 first.
    """

    def __init__(self, vectors: Tensor, cosine: bool) -> None:
        self.vectors, self.cosine = vectors, cosine

    def __call__(self, queries: Tensor, ids: Tensor) -> Tensor:
        """Scores float32 [B, C] of queries [B, d] or [B, K, d], of which the best counts, with ``ids`` [B, C]."""
        several = queries if queries.dim() == 3 else queries[:, None]
        score = torch.empty(ids.shape, device=queries.device)
        step = max(1, BLOCK // max(1, ids.shape[1] * self.vectors.shape[1]))
        for begin in range(0, len(ids), step):
            near = self.vectors[ids[begin : begin + step].clamp(min=0)]
            near = normalize(near, dim=-1) if self.cosine else near
            score[begin : begin + step] = (near @ several[begin : begin + step].transpose(1, 2)).amax(2)
        return score


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
        exactly: gives the scores instead of the searcher.
        refine: how many times ``k`` to fetch.

    Returns:
        scores float32 and ids int64 [B, k]; score -inf and id -1 where fewer were found.
    """
    if exclude is None:
        return _fetch(searcher, queries, min(n, refine * k), k, None, exactly)
    room = _power_of_two(exclude.indptr[1:] - exclude.indptr[:-1])
    sizes = torch.unique(room).tolist()
    if len(sizes) < 2:
        return _fetch(searcher, queries, min(n, refine * k + sum(sizes)), k, exclude, exactly)
    value = torch.empty(len(queries), k, device=queries.device)
    ids = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    for size in sizes:
        rows = (room == size).nonzero()[:, 0]
        width = min(n, refine * k + size)
        value[rows], ids[rows] = _fetch(searcher, queries[rows], width, k, exclude.pick(rows), exactly)
    return value, ids


def pad(value: Tensor, ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Scores and ids [B, up to k] widened to [B, k]; the id is -1 wherever the score is -inf."""
    if ids.shape[1] < k:
        room = (0, k - ids.shape[1])
        value = torch.nn.functional.pad(value, room, value=-torch.inf)
        ids = torch.nn.functional.pad(ids, room, value=-1)
    return value, torch.where(value > -torch.inf, ids, -1)


def _fetch(
    searcher: Searcher, queries: Tensor, size: int, k: int, exclude: Ragged | None, exactly: Exactly | None
) -> tuple[Tensor, Tensor]:
    """:func:`fetch` of so many vectors a query."""
    found = searcher.search(queries.reshape(-1, queries.shape[-1]).cpu().numpy(), max(1, size))
    value, ids = (torch.from_numpy(x).to(queries.device).reshape(len(queries), -1) for x in found)
    dropped = ids < 0
    if exclude is not None:
        dropped |= exclude.contains(ids)
    if exactly is not None:
        value = exactly(queries, ids)
    value = value.masked_fill(dropped, -torch.inf)
    if queries.dim() == 3:
        value, ids = _once(value, ids)
    elif exactly is None and exclude is None:
        return pad(*_ties_by_id(value, ids, k), k)
    return pad(*_best_first(value, ids, k), k)


def _power_of_two(length: Tensor) -> Tensor:
    """The smallest power of two that is not below each length; 0 for 0."""
    return torch.where(length > 0, 2 ** torch.ceil(torch.log2(length.clamp(min=1).double())).long(), 0)


def _best_first(value: Tensor, ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
    ids, by_id = torch.sort(ids, dim=1, stable=True)
    value, order = torch.sort(value.gather(1, by_id), dim=1, descending=True, stable=True)
    return value[:, :k], ids.gather(1, order)[:, :k]


def _ties_by_id(value: Tensor, ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """:func:`_best_first` of rows that are in order but for ids of equal scores."""
    tied = ((value[:, 1:] == value[:, :-1]) & (value[:, 1:] > -torch.inf)).any(1)
    if bool(tied.any()):
        value[tied], ids[tied] = _best_first(value[tied], ids[tied], value.shape[1])
    return value[:, :k], ids[:, :k]


def _once(value: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Each id of a row with the best of its scores alone; -inf at its other places."""
    value, order = torch.sort(value, dim=1, descending=True, stable=True)
    ids, by_id = torch.sort(ids.gather(1, order), dim=1, stable=True)
    value = value.gather(1, by_id)
    value[:, 1:][ids[:, 1:] == ids[:, :-1]] = -torch.inf
    return value, ids
