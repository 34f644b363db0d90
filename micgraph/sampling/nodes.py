"""The nodes of one type that a neighbourhood has found, each with one place."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Nodes(Protocol):
    """Nodes found so far, in the order of their places.

    Attributes:
        node: int64 [n].
        counts: nodes added at each hop, the seeds first.
    """

    node: Tensor
    counts: list[int]

    @property
    def tree(self) -> Tensor:
        """The seed that each node belongs to, int64 [n]; 0 where all share them."""

    def add(self, col: Tensor, eid: Tensor, tree: Tensor) -> Tensor:
        """Places int64 [S] of the nodes ``col[eid]`` of trees [S]; new ones come last, ascending."""


class SharedNodes:
    """Nodes that all seeds share, looked up in a table of places."""

    def __init__(self, seed: Tensor, width: int) -> None:
        self.node, self.counts = seed, [len(seed)]
        self.slot = torch.full((width,), -1, dtype=torch.int32, device=seed.device)
        self.slot[seed] = torch.arange(len(seed), dtype=torch.int32, device=seed.device)

    @property
    def tree(self) -> Tensor:
        """All in tree 0."""
        return torch.zeros_like(self.node)

    def add(self, col: Tensor, eid: Tensor, tree: Tensor) -> Tensor:
        """See :class:`Nodes`."""
        return self._compiled(col, eid) if col.device.type == "cpu" else self._by_tensors(col, eid)

    def _compiled(self, col: Tensor, eid: Tensor) -> Tensor:
        from micgraph.sampling import hop_kernel

        local, fresh = torch.empty_like(eid), eid.new_empty(min(len(eid), len(self.slot)))
        arrays = [x.numpy() for x in (col, eid, self.slot)]
        found = hop_kernel.relabel(*arrays, len(self.node), fresh.numpy(), local.numpy())
        self.node = torch.cat([self.node, fresh[:found]])
        return local

    def _by_tensors(self, col: Tensor, eid: Tensor) -> Tensor:
        found = col[eid].long()
        new = torch.zeros_like(self.slot, dtype=torch.bool)
        new[found] = True
        fresh = (new & (self.slot < 0)).nonzero()[:, 0]
        self.slot[fresh] = len(self.node) + torch.arange(len(fresh), dtype=torch.int32, device=fresh.device)
        self.node = torch.cat([self.node, fresh])
        return self.slot[found].long()


class OwnNodes:
    """Nodes of trees: the same node in two trees has two places."""

    def __init__(self, seed: Tensor, width: int, tree: Tensor) -> None:
        self.node, self._tree, self.width, self.counts = seed, tree, width, [len(seed)]

    @property
    def tree(self) -> Tensor:
        """See :class:`Nodes`."""
        return self._tree

    def add(self, col: Tensor, eid: Tensor, tree: Tensor) -> Tensor:
        """See :class:`Nodes`."""
        known = self._tree * self.width + self.node
        distinct, place = torch.unique(tree * self.width + col[eid].long(), return_inverse=True)
        ordered, order = torch.sort(known)
        new, local = torch.ones_like(distinct, dtype=torch.bool), distinct
        if len(known):
            at = torch.searchsorted(ordered, distinct).clamp(max=len(known) - 1)
            new, local = ordered[at] != distinct, order[at]
        local = torch.where(new, len(known) - 1 + torch.cumsum(new, 0), local)
        fresh = distinct[new.nonzero()[:, 0]]
        self.node = torch.cat([self.node, fresh % self.width])
        self._tree = torch.cat([self._tree, torch.div(fresh, self.width, rounding_mode="floor")])
        return local[place]
