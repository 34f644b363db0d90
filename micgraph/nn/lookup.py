"""Rows of a table at many places, and their means, which need not be made of a copy of every row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def rows(x: Tensor, index: Tensor) -> Tensor:
    """``x[index]`` for -1 <= index < n, with a backward pass that is fast and the same on every run."""
    flat = F.embedding(_places(index, len(x)), x.flatten(1))
    return flat.view(*index.shape, *x.shape[1:])


def _places(index: Tensor, size: int) -> Tensor:
    """-1 as the last of ``size`` rows; several times as fast as a remainder."""
    return torch.where(index < 0, index + size, index)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``x`` [B, T, ...] over the valid places of ``mask`` [B, T]; zeros where there is none."""
    weight = mask.to(x.dtype).view(*mask.shape, *(1,) * (x.dim() - 2))
    return (x * weight).sum(1) / weight.sum(1).clamp(min=1)


@dataclass(frozen=True)
class Looked:
    """Rows of a table, looked up when they are first read.

    Attributes:
        table: float [U, ...].
        index: int64 [B, T], -1 <= index < U.
    """

    table: Tensor
    index: Tensor

    @cached_property
    def rows(self) -> Tensor:
        """float [B, T, ...]."""
        return rows(self.table, self.index)

    def mean(self, mask: Tensor) -> Tensor:
        """:func:`masked_mean` of the rows: float [B, ...], for ``mask`` bool [B, T].

        On the CPU it is made without the rows: they are T times as large as what goes in or comes out.
        """
        if self.table.device.type != "cpu" or self.table.dtype != torch.float32:
            return masked_mean(self.rows, mask)
        pooled: Tensor = _Mean.apply(self.table.flatten(1), self.index, mask)
        return pooled.view(len(mask), *self.table.shape[1:])


class _Mean(torch.autograd.Function):
    """The masked mean of a table's rows [U, d] at int64 [B, T]: [B, d]."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        share = mask / mask.sum(1, keepdim=True).clamp(min=1)
        ctx.save_for_backward(index, mask)
        ctx.size = len(table)
        at = _places(index, len(table))
        return F.embedding_bag(at, table, per_sample_weights=share.to(table.dtype), mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from micgraph.nn import pool_kernel

        index, mask = ctx.saved_tensors
        slope = (grad / mask.sum(1, keepdim=True).clamp(min=1)).contiguous()
        total = grad.new_zeros(ctx.size, grad.shape[1])
        pool_kernel.add_rows(*(x.numpy() for x in (slope, index, mask, total)))
        return total, None, None
