"""Mining in a bank of the vectors that recent steps have encoded, where tables of everything are too dear."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from micgraph import rng
from micgraph.graph.relation import Relation
from micgraph.knn import Ragged, topk
from micgraph.nn.export import BoundModel
from micgraph.tasks.kmeans import nearest
from micgraph.tasks.losses import unit
from micgraph.tasks.mining import Direction, Mining, MiningConfig, Pool


class Bank(Mining):
    """A ring of recent vectors of users and of items, searched within each step.

    Each user or item has one place, its latest vector's. Clusters are made at the start of an epoch; what comes in
    later joins the nearest one.
    """

    remembers = True

    def __init__(self, config: MiningConfig, directions: Collection[Direction]) -> None:
        super().__init__(config, directions)
        for space in self.spaces:
            self._put(space, torch.full((config.bank,), -1), torch.zeros(config.bank, 1))
            setattr(self, f"{space}_label", torch.full((config.bank,), -1))
            self.register_buffer(f"{space}_at", torch.tensor(0))

    def remember(self, vectors: dict[str, tuple[Tensor, Tensor]]) -> None:
        self._pools.clear()
        for space in self.spaces:
            ids, found = vectors[space]
            self._write(space, *_latest(ids, found.detach().float(), self.config.bank))

    def _renew(self, epoch: int, model: BoundModel, clicks: Relation, key: int) -> None:
        for space in self.spaces:
            self._cluster(space, rng.make_key(key, "clusters"))

    def _near(self, direction: Direction, anchor_id: Tensor, anchor: Tensor, partner_id: Tensor, pool: Pool) -> Tensor:
        held = (pool.id >= 0).nonzero()[:, 0]
        found = torch.full((len(anchor), self.config.k), -1, device=anchor.device)
        if not self.config.k or not len(held) or not len(anchor):
            return found
        own = Ragged(torch.arange(len(anchor) + 1, device=anchor.device), _places(pool.id, partner_id))
        return topk(anchor, pool.vectors, self.config.k, "cosine", exclude=own, among=held)[1]

    def _write(self, space: str, ids: Tensor, vectors: Tensor) -> None:
        """Put distinct ids in the next places of the ring; their older vectors are forgotten."""
        number, held = getattr(self, f"{space}_id"), getattr(self, f"{space}_vectors")
        label, centres, at = (getattr(self, f"{space}_{part}") for part in ("label", "centres", "at"))
        if held.shape[1] != vectors.shape[1]:  # the first vectors tell how wide they are
            held = vectors.new_zeros(len(number), vectors.shape[1])
        older = torch.isin(number, ids)
        number[older], label[older] = -1, -1
        place = (at + torch.arange(len(ids), device=ids.device)) % len(number)
        number[place] = ids
        held = held.index_copy(0, place, unit(vectors))  # this step's backward pass has yet to read what it found
        setattr(self, f"{space}_vectors", held)
        label[place] = nearest(held[place], centres) if len(centres) else -1
        at.copy_((at + len(ids)) % len(number))


def _latest(ids: Tensor, vectors: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The last ``size`` distinct ids, each with its last vector."""
    distinct, which = torch.unique(ids, return_inverse=True)
    order = torch.arange(len(ids), device=ids.device)
    last = torch.zeros_like(distinct).scatter_reduce(0, which, order, "amax")
    kept = torch.sort(last).values[-size:]
    return ids[kept], vectors[kept]


def _places(held: Tensor, wanted: Tensor) -> Tensor:
    """Where each of ``wanted`` int64 [A] stands in ``held`` int64 [R] (distinct but for -1), or -1."""
    order = torch.argsort(held)
    at = torch.searchsorted(held[order], wanted).clamp(max=len(held) - 1)
    return torch.where(held[order][at] == wanted, order[at], -1)
