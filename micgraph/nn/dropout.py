"""Dropout with a mask that costs little on the CPU, where drawing one float for each number is slower than using it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOTS = 1 << 16
"""A rate is rounded to so many parts; what is kept is scaled by the rounded rate, so that means are exact."""


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    """Each number of ``x`` is 0 with probability ``rate``, else divided by 1 - ``rate`` (inverted dropout).

    On the CPU sixteen random bits decide on each number, four numbers a draw of torch's generator; elsewhere torch's
    own dropout does.

    Args:
        x: float, any shape.
        rate: in [0, 1), on the CPU to the nearest 1 / 65,536.
        training: False gives ``x`` as it is.
    """
    if x.device.type != "cpu":
        return F.dropout(x, rate, training)
    dropped = min(round(rate * LOTS), LOTS - 1)
    if not training or not dropped or not x.numel():
        return x
    whole = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    lot = whole.view(torch.int16)[: x.numel()].view(x.shape)
    keep = (lot >= dropped - LOTS // 2).to(x.dtype)
    return x * keep.mul_(LOTS / (LOTS - dropped))


class Dropout(nn.Dropout):
    """:func:`dropout` as a module. Of inputs that are dropped out already (``done``) nothing more is dropped."""

    @property
    def active(self) -> bool:
        """Whether anything is dropped."""
        return self.training and self.p > 0

    def forward(self, x: Tensor, done: bool = False) -> Tensor:
        return x if done else dropout(x, self.p, self.training)
