"""The softmax over the whole catalogue, whose scores never lie in memory all at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK = {"cpu": 2**20, "cuda": 2**24}
"""Scores that lie in memory at a time, by device: on a CPU few enough for its cache."""


def full_softmax(
    query: Tensor,
    items: Tensor,
    target: Tensor,
    scale: float = 1.0,
    wanted: Tensor | None = None,
    blocked: Tensor | None = None,
    row: Tensor | None = None,
) -> Tensor:
    """Cross-entropy over the whole catalogue (MicRec Eq. 7 with every other item as negative).

    Cross-entropy with a distribution t over the items is ``logsumexp(s) - sum_i t_i s_i``. Scores are linear in the
    items, so the last term is the score of the mean item under t: all that a soft target needs.

    Args:
        query: float [P, d].
        items: float [N, d].
        target: int64 [P], rows of ``items``.
        scale: scores are ``scale * query @ items.T``.
        wanted: float [P, d], mean vectors of the items that are wanted; by default the targets' own.
        blocked: bool [B, N], items that must not count as negatives (a query's target always counts).
        row: int64 [P], which row of ``blocked`` belongs to each query.

    Returns:
        The mean over the P queries, 0 where there is none.
    """
    query = query * scale
    wanted = items[target] if wanted is None else wanted
    total: Tensor = _LogSumExp.apply(query, items, target, blocked, row)
    return (total - (query * wanted).sum(dtype=total.dtype)) / max(len(query), 1)


class _LogSumExp(torch.autograd.Function):
    """Sum over the queries of log sum_i exp(query . item_i); under autocast the products have its precision.

    The gradients are made on the way, so that no chunk's scores need be kept or made a second time.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, items: Tensor, target: Tensor, blocked: Tensor | None, row: Tensor | None
    ) -> Tensor:
        kind = query.device.type
        low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
        wide = torch.promote_types(low, torch.float32)
        left, right = query.to(low), items.to(low)
        total = query.new_zeros((), dtype=wide)
        by_query, by_item = torch.empty_like(left), torch.zeros_like(right, dtype=wide)
        size = max(1, CHUNK[kind] // max(len(items), 1))
        with torch.autocast(kind, enabled=False):
            for start in range(0, len(query), size):
                part = slice(start, start + size)
                scores = (left[part] @ right.T).to(wide)
                if blocked is not None and row is not None:
                    _block(scores, blocked[row[part]], target[part])
                share = torch.softmax(scores, 1)
                # log sum exp = largest score - log of its share; cheaper than making the sum again
                total += (scores.amax(1) - share.amax(1).log()).sum()
                share = share.to(low)
                by_query[part] = share @ right
                by_item += share.T @ left[part]
        ctx.save_for_backward(by_query.to(query.dtype), by_item.to(items.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        by_query, by_item = ctx.saved_tensors
        return slope.to(by_query.dtype) * by_query, slope.to(by_item.dtype) * by_item, None, None, None


def _block(scores: Tensor, blocked: Tensor, target: Tensor) -> None:
    """Put -inf at the blocked places of each row but its target's."""
    own = scores.gather(1, target[:, None])
    scores.masked_fill_(blocked, -torch.inf).scatter_(1, target[:, None], own)
