"""Lists and nearest vectors, by internal number, as the columns of answers."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from micgraph.ids import IdMap
from micgraph.knn import Ragged, topk
from micgraph.retrieval import frames
from micgraph.retrieval.asking import Asked, check_k, graph_ids
from micgraph.retrieval.retriever import Retriever
from micgraph.schema import ITEM_ID

_LOG = logging.getLogger(__name__)


def answer(retriever: Retriever, asked: Asked, k: int) -> dict[str, pa.Array]:
    """The rows of recommendations of all users."""
    parts: list[dict[str, pa.Array]] = []
    start, ids, short = 0, graph_ids(retriever.graph), []
    for queries in asked.batches:
        lists = retriever.lists(queries, k, asked.channels, asked.allowed)
        parts.append(frames.recommendations(lists, asked.ids[start : start + len(queries)], *ids))
        if len(parts[-1][ITEM_ID]) < k * len(queries):
            short += [start + at for at in (lists.items < 0).any(1).nonzero()[:, 0].tolist()]
        start += len(queries)
    if short:
        _LOG.warning(
            "fewer than k=%d items are left for %d of %d users (such as %r) without those that they have seen: they "
            "get what is left; allow more candidates, ask for fewer items, or pass filter_seen=False",
            *(k, len(short), len(asked.ids), asked.ids[short[0]].as_py()),
        )
    return (
        parts[0] if len(parts) == 1 else {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}
    )


def nearest(index: np.ndarray[Any, Any], vectors: Tensor, ids: IdMap, name: str, k: int) -> dict[str, Any]:
    """The ``k`` nearest others of each of ``index`` int64 [B] by the cosine of ``vectors`` float [N, d].

    Args:
        name: the first column.

    Raises:
        InputError: a k that cannot be had.
    """
    check_k(k, len(ids) - 1)
    rows = torch.from_numpy(index).to(vectors.device)
    itself = Ragged(torch.arange(len(rows) + 1, device=rows.device), rows)
    score, near = topk(vectors[rows], vectors, k, "cosine", exclude=itself)
    return {
        name: ids.ids(np.repeat(index, k)),
        "similar_id": ids.ids(near.cpu().numpy()),
        "rank": pa.array(np.tile(np.arange(1, k + 1), len(index)), pa.int32()),
        "score": pa.array(score.cpu().numpy().reshape(-1)),
    }
