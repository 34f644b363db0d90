"""Perturbations of queries and items (MIC 2.4.1, MicRec 3.3; DECISIONS 13, 26). Masks are counter-based, so batches
stay the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from micgraph import rng
from micgraph.graph.fields import Field
from micgraph.graph.relation import spans
from micgraph.schema import check_range


@dataclass(frozen=True)
class PerturbConfig:
    """How a view differs from the original.

    Attributes:
        mask_rate: share of history items and of fields that are read as unknown.
        dropout: on the embedded history and fields; above 0, of queries in the place of the encoder's own on what goes
            in, so that nothing is dropped out twice.
        sides: what is perturbed. ``queries``: history items and user fields are masked, and what is left of them
            embedded is dropped out. ``items``: item fields are, and dropped out, also where the item is in a history
            (MIC 2.7's plug-in form, which leaves the encoder of queries as it is). ``both`` (2.4.1): views of
            queries by their own side and views of items by theirs. ``none``: every view is the original.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    mask_rate: float = 0.2
    dropout: float = 0.2
    sides: Literal["both", "queries", "items", "none"] = "both"

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


def keep_some(key: int, sample: Tensor, slots: int, mask_ratio: float) -> Tensor:
    """bool [B, slots], as :func:`keep_mask`, but one slot stays where all would go: a view of nothing shows no item."""
    lot = rng.uniform(key, sample, slots)
    return lot >= lot.amax(1, keepdim=True).clamp(max=mask_ratio)


def drop_values(field: Field, key: int, sample: Tensor, mask_ratio: float) -> Field:
    """A multi-valued field without some of its values (MicRec 3.3, categorical feature dropout).

    Args:
        field: n nodes.
        key: of this view.
        sample: int64 [n], numbers of the nodes.
        mask_ratio: probability that a value goes; one stays where all would go.
    """
    assert field.offsets is not None
    length = field.offsets[1:] - field.offsets[:-1]
    owner, place = spans(torch.zeros_like(length), length)
    lot = rng.uniform(key, (sample[owner] << 20) + place, 1)[:, 0]
    best = lot.new_zeros(len(field)).scatter_reduce(0, owner, lot, "amax")
    keep = lot >= best.clamp(max=mask_ratio)[owner]
    offsets = F.pad(torch.cumsum(torch.bincount(owner[keep], minlength=len(field)), 0), (1, 0))
    return replace(field, values=field.values[keep], offsets=offsets)
