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
    weight: Tensor | None = None,
    blocked: Tensor | None = None,
    row: Tensor | None = None,
) -> Tensor:
    """Cross-entropy over the whole catalogue (MicRec Eq. 7 with every other item as negative).

    A query may have several targets: its loss is the weighted sum of theirs. Without ``blocked`` that is the
    cross-entropy with a distribution over the items; with it each target stands alone beside the negatives.

    Args:
        query: float [P, d].
        items: float [N, d].
        target: int64 [P] or [P, W], rows of ``items``.
        scale: scores are ``scale * query @ items.T``.
        weight: float [P, W] of the targets, 0 where there is none; 1 by default.
        blocked: bool [B, N], items that must not count as negatives (a target counts for itself).
        row: int64 [P], which row of ``blocked`` belongs to each query.

    Returns:
        The mean over the P queries, 0 where there is none.
    """
    target = target[:, None] if target.dim() == 1 else target
    if weight is None:
        weight = torch.ones_like(target, dtype=torch.float32)
    total: Tensor = _FullSoftmax.apply(query * scale, items, target, weight, blocked, row)
    return total / max(len(query), 1)


class _FullSoftmax(torch.autograd.Function):
    """The sum over the queries; under autocast the products have its precision.

    The gradients are made on the way, so that no chunk's scores need be kept or made a second time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        items: Tensor,
        target: Tensor,
        weight: Tensor,
        blocked: Tensor | None,
        row: Tensor | None,
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
                spared = None if blocked is None or row is None else blocked[row[part]]
                total += _to_slopes(scores, target[part], weight[part].to(wide), spared)
                slopes = scores.to(low)
                by_query[part] = slopes @ right
                by_item += slopes.T @ left[part]
        ctx.save_for_backward(by_query.to(query.dtype), by_item.to(items.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        by_query, by_item = ctx.saved_tensors
        return slope.to(by_query.dtype) * by_query, slope.to(by_item.dtype) * by_item, None, None, None, None


def _to_slopes(scores: Tensor, target: Tensor, weight: Tensor, blocked: Tensor | None) -> Tensor:
    """The loss of C queries; turns ``scores`` [C, N] into its derivatives by them, in place.

    With Z the sum of exp(s) over the items that are not blocked, target j has the denominator Z_j = Z, or
    Z + exp(s_j) where it is blocked itself, and the loss w_j (log Z_j - s_j).

    Args:
        target: int64 [C, W], and ``weight`` float [C, W].
        blocked: bool [C, N] or None.
    """
    own = scores.gather(1, target)
    if blocked is not None:
        scores.masked_fill_(blocked, -torch.inf)
    top = torch.maximum(scores.amax(1, keepdim=True), own.amax(1, keepdim=True))
    norm = scores.sub_(top).exp_().sum(1, keepdim=True)
    alone = torch.zeros_like(own) if blocked is None else (own - top).exp() * blocked.gather(1, target)
    each = norm + alone
    loss = (weight * (each.log() + top - own)).sum()
    scores.mul_((weight / each).sum(1, keepdim=True)).scatter_add_(1, target, weight * (alone / each - 1))
    return loss
