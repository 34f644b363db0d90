"""Contrasts of so many rows that a score of every two of them does not fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from micgraph.tasks.catalogue import CHUNK

WHOLE = 1 << 26
"""Scores of so many pairs are made at once: 8,192 rows against each other, 256 MB; of more, some rows at a time."""


@dataclass(frozen=True)
class Pairs:
    """Which of N rows are no negatives of each other, told without a matrix of N x N.

    Attributes:
        ids: int64 [N] each; rows with an equal number in one of them, hence every row and itself.
        row, col: int64 [S], more such pairs, in the order of ``row``.
    """

    ids: tuple[Tensor, ...]
    row: Tensor
    col: Tensor

    @classmethod
    def of(cls, *ids: Tensor) -> Pairs:
        """Those of equal numbers alone."""
        none = ids[0].new_zeros(0)
        return cls(ids, none, none)

    def beside(self, row: Tensor, col: Tensor) -> Pairs:
        """These and the pairs of ``row`` and ``col`` int64 [S], in any order."""
        row, col = torch.cat([self.row, row]), torch.cat([self.col, col])
        order = torch.argsort(row, stable=True)
        return Pairs(self.ids, row[order], col[order])

    def twice(self) -> Pairs:
        """Of the same rows laid end to end twice, each as the first time."""
        n = len(self.ids[0])
        doubled = Pairs.of(*(torch.cat([one, one]) for one in self.ids))
        row = torch.cat([self.row, self.row, self.row + n, self.row + n])
        return doubled.beside(row, torch.cat([self.col, self.col + n, self.col, self.col + n]))

    def mask(self, start: int, stop: int) -> Tensor:
        """bool [stop - start, N], which rows are no negatives of these, themselves among them."""
        blocked = self.ids[0][start:stop, None] == self.ids[0][None, :]
        for one in self.ids[1:]:
            blocked |= one[start:stop, None] == one[None, :]
        first, last = torch.searchsorted(self.row, torch.tensor([start, stop], device=self.row.device)).tolist()
        blocked[self.row[first:last] - start, self.col[first:last]] = True
        return blocked


def same_ids(*ids: Tensor) -> Tensor | Pairs:
    """Rows with an equal number in one of ``ids`` int64 [N] each: a matrix bool [N, N] where that is small enough."""
    if len(ids[0]) ** 2 > WHOLE:
        return Pairs.of(*ids)
    same = ids[0][:, None] == ids[0][None, :]
    for one in ids[1:]:
        same = same | (one[:, None] == one[None, :])
    return same


def pair_total(anchor: Tensor, column: Tensor, same: Pairs) -> Tensor:
    """logsumexp of every row's scores with the rows that are its negatives: [N], minus infinity where there are none.

    Scores are made for some rows at a time, and again in the backward pass; under autocast they have its precision.

    Args:
        anchor, column: float [N, d]; scores are their inner products.
    """
    return _PairTotal.apply(anchor, column, same)  # type: ignore[no-any-return]


class _PairTotal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, column: Tensor, same: Pairs) -> Tensor:
        kind = anchor.device.type
        low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else anchor.dtype
        left, right = anchor.to(low), column.to(low)
        with torch.autocast(kind, enabled=False):
            parts = [torch.logsumexp(_scores(left, right, same, *part), 1) for part in _parts(left, right)]
        total = torch.cat(parts)
        ctx.save_for_backward(left, right, total)
        ctx.same, ctx.kinds = same, (anchor.dtype, column.dtype)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        left, right, total = ctx.saved_tensors
        safe = torch.where(torch.isfinite(total), total, 0.0)
        by_left, by_right = torch.empty_like(left), torch.zeros_like(right, dtype=total.dtype)
        for start, stop in _parts(left, right):
            shares = _scores(left, right, ctx.same, start, stop).sub_(safe[start:stop, None]).exp_()
            slopes = shares.mul_(grad[start:stop, None]).to(left.dtype)
            by_left[start:stop] = slopes @ right
            by_right += slopes.T @ left[start:stop]
        return by_left.to(ctx.kinds[0]), by_right.to(ctx.kinds[1]), None


def _parts(left: Tensor, right: Tensor) -> list[tuple[int, int]]:
    size = max(1, CHUNK[left.device.type] // max(1, len(right)))
    return [(start, min(start + size, len(left))) for start in range(0, max(len(left), 1), size)]


def _scores(left: Tensor, right: Tensor, same: Pairs, start: int, stop: int) -> Tensor:
    scores = left[start:stop] @ right.T
    return scores.to(torch.promote_types(scores.dtype, torch.float32)).masked_fill_(same.mask(start, stop), -torch.inf)
