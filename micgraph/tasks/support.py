"""What mining adds to a contrast: rows of a table that stand beside each anchor's own positive and its negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

weights_backward = torch.ops.aten._embedding_bag_per_sample_weights_backward.default


@dataclass(frozen=True)
class Support:
    """What mining adds to A anchors (MIC 2.4.2), without gradients of its own.

    Attributes:
        vectors: float [N, d], unit vectors, of which the next are rows.
        near: int64 [A, k], mined neighbours: more positives.
        near_valid: bool [A, k], which of them there are; where there is none, ``near`` is any row.
        hard: int64 [A, H], more negatives.
        hard_valid: bool [A, H].
        weight: of each neighbour beside an anchor's own positive, which has 1.
    """

    vectors: Tensor
    near: Tensor
    near_valid: Tensor
    hard: Tensor
    hard_valid: Tensor
    weight: float = 1.0

    def scores(self, anchor: Tensor) -> tuple[Tensor, Tensor]:
        """Inner products of ``anchor`` float [A, d] with its neighbours [A, k] and with its hard negatives [A, H]."""
        anchor = anchor.to(self.vectors.dtype)
        near, hard = (_RowScores.apply(anchor, self.vectors, row) for row in (self.near, self.hard))
        return near, hard


class _RowScores(torch.autograd.Function):
    """<anchor a, vectors[row[a, i]]> [A, n] without a copy of those rows, [A, n, d], which takes ten times as long.

    A bag of embeddings sums rows, each times its weight; what it sends back to the weights is these products, and the
    sum itself is what goes back to the anchor.
    """

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, vectors: Tensor, row: Tensor) -> Tensor:
        place = torch.arange(len(row), device=row.device)
        bag, start, row = place.repeat_interleave(row.shape[1]), place * row.shape[1], row.contiguous()
        ctx.save_for_backward(vectors, row, start)
        products = weights_backward(anchor.contiguous(), vectors, row.view(-1), start, bag, 0)
        return products.view(row.shape)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        vectors, row, start = ctx.saved_tensors
        weight = grad.contiguous().view(-1)
        return F.embedding_bag(row.view(-1), vectors, start, mode="sum", per_sample_weights=weight), None, None
