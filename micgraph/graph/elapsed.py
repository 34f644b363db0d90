"""How long after the click before it a click came."""

from __future__ import annotations

import torch
from torch import Tensor

CODES = 32
"""Codes of :func:`gap_code`: unknown, and the powers of two up to some 34 years."""


def gaps(indptr: Tensor, time: Tensor | None, rows: Tensor, eid: Tensor) -> Tensor:
    """Seconds since the click before.

    Args:
        indptr: int64 [R + 1], where each row's clicks lie.
        time: int [S] of the clicks in seconds, ascending in a row; None where nobody knows.
        rows: int64 [B].
        eid: int64 [B, T], clicks of these rows.

    Returns:
        int64 [B, T]; -1 for a row's first click, and everywhere where no times are known.
    """
    if time is None or not time.numel():
        return torch.full_like(eid, -1)
    gap = (time[eid] - time[(eid - 1).clamp(min=0)]).long()
    return torch.where(eid > indptr[rows][:, None], gap.clamp(min=0), -1)


def gap_code(gap: Tensor) -> Tensor:
    """int64 codes below :data:`CODES`: 0 for -1 (unknown), else 1 + the whole part of log2(1 + seconds)."""
    code = torch.log2(gap.clamp(min=0).double() + 1).floor().long() + 1
    return torch.where(gap < 0, 0, code.clamp(max=CODES - 1))
