"""The numbers that items have within a batch: each of them is encoded once, wherever it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Local:
    """Distinct items and their places.

    Attributes:
        items: int64 [U], ascending.
        slot: int64 [n + 1], the place of each of ``items``; the last entry is -1, all others mean nothing.
    """

    items: Tensor
    slot: Tensor

    def places(self, items: Tensor, out: Tensor | None = None) -> Tensor:
        """int64, of the same shape: where each stands in ``items``, and -1 for -1.

        Args:
            items: int64 of any shape, some of ``items`` or -1.
            out: filled in and returned, on the CPU; it may be ``items`` itself, whose memory is in the cache already.
        """
        return (_places_compiled if items.device.type == "cpu" else _places_by_tensors)(self.slot, items, out)


def distinct(wanted: Sequence[Tensor], n: int) -> Local:
    """Every item that is named, once.

    Args:
        wanted: int64 tensors of any shape, below n; what is below 0 is passed over.
        n: items of the graph.
    """
    return (_distinct_compiled if wanted[0].device.type == "cpu" else _distinct_by_tensors)(wanted, n)


def every(n: int, device: torch.device) -> Local:
    """All items of a graph, which keep their numbers."""
    slot = torch.arange(n + 1, device=device)
    slot[n] = -1
    return Local(slot[:n], slot)


def _distinct_compiled(wanted: Sequence[Tensor], n: int) -> Local:
    from micgraph.sampling import local_kernel

    present, slot = torch.zeros(-(-n // 8) * 8, dtype=torch.uint8), torch.empty(n + 1, dtype=torch.int64)
    count = sum(local_kernel.mark(present.numpy(), one.reshape(-1).numpy()) for one in wanted)
    items = torch.empty(count, dtype=torch.int64)
    local_kernel.number(present.numpy(), items.numpy(), slot.numpy())
    return Local(items, slot)


def _distinct_by_tensors(wanted: Sequence[Tensor], n: int) -> Local:
    present = torch.zeros(n + 1, dtype=torch.bool, device=wanted[0].device)
    for one in wanted:  # what is below 0 writes to the last place
        present.index_fill_(0, torch.where(one < 0, n, one).reshape(-1), True)
    present[n] = False
    items = present.nonzero()[:, 0]
    slot = torch.full((n + 1,), -1, dtype=torch.int64, device=items.device)
    slot[items] = torch.arange(len(items), device=items.device)
    return Local(items, slot)


def _places_compiled(slot: Tensor, items: Tensor, out: Tensor | None) -> Tensor:
    from micgraph.sampling import local_kernel

    found = torch.empty(items.shape, dtype=torch.int64) if out is None else out
    local_kernel.places(slot.numpy(), items.reshape(-1).numpy(), found.view(-1).numpy())
    return found


def _places_by_tensors(slot: Tensor, items: Tensor, out: Tensor | None) -> Tensor:
    return slot[items]
