"""Exact search by FAISS, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from micgraph.knn.ragged import Ragged
from micgraph.schema import MissingExtraError


def load_faiss(argument: str) -> Any:
    """The module ``faiss``, for the setting ``argument``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        remedy = "pip install 'micgraph[cpu]'"
        raise MissingExtraError(argument, "the package faiss", "no such package", remedy) from error
    return faiss


def flat_index(base: Tensor, argument: str) -> Any:
    """FAISS's flat index by inner product over ``base`` float [N, d]; for ``argument`` see :func:`load_faiss`."""
    index = load_faiss(argument).IndexFlatIP(base.shape[1])
    index.add(base.cpu().numpy())
    return index


def search_flat(index: Any, queries: Tensor, n: int, k: int, exclude: Ragged | None) -> tuple[Tensor, Tensor]:
    """The ``k`` best for each query: scores float32 and ids int64, [B, up to k] each.

    FAISS cannot leave ids out for one query only: fetch more, then drop them.

    Args:
        queries: float [B, d] or [B, K, d].
        n: how many vectors the index has.
        exclude: ids that a query must not get.
    """
    flat = queries.reshape(-1, queries.shape[-1])
    longest = 0 if exclude is None else exclude.longest()
    found = index.search(flat.cpu().numpy(), max(1, min(n, k + longest)))
    value, ids = (torch.from_numpy(x).to(queries.device).reshape(len(queries), -1) for x in found)
    if exclude is not None:
        value = value.masked_fill(exclude.contains(ids), -torch.inf)
    value, order = torch.sort(value, dim=1, descending=True, stable=True)
    ids, by_id = torch.sort(ids.gather(1, order), dim=1, stable=True)
    value = value.gather(1, by_id)
    again = torch.zeros_like(ids, dtype=torch.bool)  # found by several vectors of a query
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    value = value.masked_fill(again | (ids < 0), -torch.inf)
    value, order = torch.sort(value, dim=1, descending=True, stable=True)
    return value[:, :k], ids.gather(1, order)[:, :k]
