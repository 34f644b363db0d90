"""Perturbations of queries and items (MIC 2.4.1, DECISIONS 26). Masks are counter-based, so batches stay the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from micgraph import rng
from micgraph.schema import check_range


@dataclass(frozen=True)
class PerturbConfig:
    """How a view differs from the original.

    Attributes:
        mask_rate: share of history items and of fields that are read as unknown.
        dropout: on the embedded history and fields.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    mask_rate: float = 0.2
    dropout: float = 0.2

    def __post_init__(self) -> None:
        check_range(vars(self), "mask_rate", at_least=0, at_most=1)
        check_range(vars(self), "dropout", at_least=0, below=1)


def keep_mask(key: int, sample: Tensor, slots: int, mask_rate: float) -> Tensor:
    """bool [B, slots], False with probability ``mask_rate``: which fields or history items stay.

    Args:
        key: of this view.
        sample: int64 [B], numbers of users, pieces or items.
        slots: number of fields or places.
        mask_rate: in [0, 1].
    """
    if not slots:
        return torch.ones((len(sample), 0), dtype=torch.bool, device=sample.device)
    return rng.uniform(key, sample, slots) >= mask_rate
