"""Negatives drawn from the catalogue, with the probabilities that the logQ correction needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from micgraph import rng

NegativeKind = Literal["uniform", "popularity"]


@dataclass(frozen=True)
class NegativeSampler:
    """Draws items with replacement, shared by the whole batch.

    Attributes:
        tickets: int64 [N], inclusive prefix sums of the items' integer weights.
    """

    tickets: Tensor

    @classmethod
    def uniform(cls, n_items: int, device: torch.device | str = "cpu") -> NegativeSampler:
        """Every item with the same probability."""
        return cls(torch.arange(1, n_items + 1, device=device))

    @classmethod
    def popularity(cls, counts: Tensor) -> NegativeSampler:
        """Items in proportion to their click counts, int64 [N]; an item that nobody clicked is never drawn."""
        return cls(torch.cumsum(counts.long(), 0))

    def log_q(self) -> Tensor:
        """log probability of each item: float32 [N] (-inf where it is never drawn)."""
        weight = torch.diff(self.tickets, prepend=self.tickets.new_zeros(1))
        return (weight.double() / self.tickets[-1]).log().float()

    def draw(self, count: int, key: int) -> Tensor:
        """int64 [count] item indices."""
        ticket = rng.integers(key, torch.arange(count, device=self.tickets.device), 1, self.tickets[-1])[:, 0]
        return torch.searchsorted(self.tickets, ticket, right=True)
