"""Feature fields of users or items as tensors: what the towers read, with no trace of where they came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["categorical", "multi", "dense", "embedding"]


@dataclass(frozen=True)
class Field:
    """One field of N nodes.

    Attributes:
        name: the column it was made from.
        kind: ``categorical`` (one code a node), ``multi`` (a list of codes a node), ``dense`` (standardised
            numbers), ``embedding`` (a given content vector).
        size: number of codes including 0, which means missing or never seen (categorical, multi); or width.
        values: int32 [N] codes (categorical), int32 [M] codes (multi), float32 [N, size] (dense, embedding).
        offsets: int64 [N + 1], where each node's codes lie in ``values`` (multi only).
    """

    name: str
    kind: Kind
    size: int
    values: Tensor
    offsets: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def take(self, index: Tensor) -> Field:
        """The field of the nodes in ``index`` int64 [B]; -1 stands for a node nobody knows (code 0, zeros)."""
        known = index >= 0
        at = index.clamp(min=0)
        if self.offsets is None:
            shape = (-1,) + (1,) * (self.values.dim() - 1)
            if not len(self.values):
                return replace(self, values=self.values.new_zeros((len(index), *self.values.shape[1:])))
            return replace(self, values=torch.where(known.view(shape), self.values[at], 0))
        start = self.offsets[at]
        end = self.offsets[(at + 1).clamp(max=len(self))]
        length = torch.where(known, end - start, 0)
        offsets = torch.zeros(len(index) + 1, dtype=torch.int64, device=index.device)
        torch.cumsum(length, 0, out=offsets[1:])
        owner = torch.repeat_interleave(torch.arange(len(index), device=index.device), length)
        place = torch.arange(len(owner), device=index.device) - offsets[:-1][owner] + start[owner]
        return replace(self, values=self.values[place], offsets=offsets)

    def first(self) -> Tensor:
        """One code a node, the first of several: int64 [N], 0 where there is none (categorical and multi)."""
        if self.offsets is None:
            return self.values.long()
        padded = torch.cat([self.values, self.values.new_zeros(1)]).long()
        return torch.where(self.offsets[1:] > self.offsets[:-1], padded[self.offsets[:-1]], 0)

    def to(self, device: torch.device | str) -> Field:
        """The same field on another device."""
        offsets = None if self.offsets is None else self.offsets.to(device)
        return replace(self, values=self.values.to(device), offsets=offsets)


Fields = dict[str, Field]
"""Field name -> field, in the order in which the towers concatenate them. All have the same number of nodes."""


def take(fields: Fields, index: Tensor) -> Fields:
    """Every field of the nodes in ``index`` int64 [B] (-1: a node nobody knows)."""
    return {name: field.take(index) for name, field in fields.items()}
