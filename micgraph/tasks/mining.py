"""Nearest-neighbour mining (MIC 2.4.2, DECISIONS 25): more positives and harder negatives than a batch holds.

The k nearest neighbours of an anchor become more positives of its contrast, and rows of clusters other than its
positive's own become more negatives. Both are vectors that were made before this step and carry no gradient; the
anchor moves, as with the support sets of nearest-neighbour contrast elsewhere. Encoding five more histories for every
query instead would make a step several times as long.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from micgraph import rng
from micgraph.graph.relation import Relation, spans
from micgraph.nn.export import BoundModel
from micgraph.schema import check_range
from micgraph.tasks.kmeans import Clusters, kmeans, nearest
from micgraph.tasks.losses import unit
from micgraph.tasks.support import Support

Direction = Literal["uu", "ii", "ui", "iu"]
"""Users for users and items for items, each in their own space; items for users and users for items in the space that
U2I searches."""

SPACES: dict[Direction, tuple[str, str]] = {
    "uu": ("user_own", "user_own"),
    "ii": ("item_own", "item_own"),
    "ui": ("user_search", "item_search"),
    "iu": ("item_search", "user_search"),
}
"""Where a direction's anchors lie, and where their neighbours do."""

TABLES_UP_TO = 50_000
"""``auto`` keeps tables of so many users and items together, and above a bank: tables cost the square of that."""


@dataclass(frozen=True)
class MiningConfig:
    """Nearest-neighbour mining for the user-item, user-user and item-item tasks.

    Attributes:
        mode: ``tables`` encodes every user and item and searches them at the start of an epoch; ``bank`` searches the
            vectors of recent steps within each step; ``auto`` takes tables up to 50,000 users and items together, and
            the bank above; ``none`` mines nothing.
        start: the first epoch (counted from 1) that uses what was mined.
        every: epochs between new tables; more than 1 pays where an epoch has few steps.
        k: neighbours that become positives; 0 for none.
        weight: of each of them beside an anchor's own positive. By default all five together weigh as much as it;
            1 is the plain mean over all pairs, where a model that has learned little confirms its own neighbours.
        clusters: of k-means++.
        hard: negatives that are drawn for each anchor from other clusters; 0 for none.
        nearest_other_cluster: draw them from the closest other cluster only.
        bank: vectors that the bank keeps of users and of items.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    mode: Literal["auto", "none", "tables", "bank"] = "auto"
    start: int = 2
    every: int = 1
    k: int = 5
    weight: float = 0.2
    clusters: int = 100
    hard: int = 20
    nearest_other_cluster: bool = False
    bank: int = 4096

    def __post_init__(self) -> None:
        check_range(vars(self), "start every clusters bank", at_least=1)
        check_range(vars(self), "k weight hard", at_least=0)


@dataclass(frozen=True)
class Mined:
    """What was found for A anchors.

    Attributes:
        near_id: int64 [A, k], the neighbours (users or items of the graph), -1 where there are fewer: they are no
            negatives of the anchor wherever they turn up in the batch.
        support: their vectors, and the hard negatives.
    """

    near_id: Tensor
    support: Support


@dataclass(frozen=True)
class Pool:
    """Vectors that can be found.

    Attributes:
        id: int64 [N], users or items of the graph; -1 for a free place.
        vectors: float32 [N, d], unit vectors.
        centres: float32 [C, d], of the clusters.
        clusters: the rows by cluster, or None where there are no centres yet.
        empty: whether all places are free.
    """

    id: Tensor
    vectors: Tensor
    centres: Tensor
    clusters: Clusters | None
    empty: bool


class Mining(nn.Module):
    """Base of both ways to mine. What they know is in buffers, hence part of every checkpoint.

    Args:
        config: sizes.
        directions: what the tasks ask for.

    Attributes:
        active: whether the running epoch uses what was mined.
    """

    remembers: ClassVar[bool] = False
    """Whether :meth:`remember` is to be told of every step's vectors."""

    epoch: Tensor

    def __init__(self, config: MiningConfig, directions: Collection[Direction]) -> None:
        super().__init__()
        self.config, self.directions = config, tuple(d for d in SPACES if d in directions)
        self.spaces = tuple(dict.fromkeys(space for d in self.directions for space in SPACES[d]))
        self.register_buffer("epoch", torch.tensor(-1))
        self.active = False
        self._pools: dict[str, Pool] = {}  # of what the buffers hold now; whoever changes them clears it
        for direction in ("ui", "iu"):
            self.register_buffer(f"clicked_{direction}", torch.zeros(0, dtype=torch.int64), persistent=False)
        self.partners = {"ui": 0, "iu": 0}
        for space in self.spaces:
            self.register_buffer(f"{space}_id", torch.zeros(0, dtype=torch.int64))
            self.register_buffer(f"{space}_vectors", torch.zeros(0, 1))
            self.register_buffer(f"{space}_label", torch.zeros(0, dtype=torch.int64))
            self.register_buffer(f"{space}_centres", torch.zeros(0, 1))

    def begin_epoch(self, epoch: int, model: BoundModel, clicks: Relation, seed: int, resumed: bool = False) -> None:
        """Make ready for an epoch.

        Args:
            epoch: counted from 0.
            model: the towers as they are.
            clicks: the relation from users to items.
            seed: of the run.
            resumed: the epoch goes on from a checkpoint, which has what was mined, but not the clicks.
        """
        if {"ui", "iu"} & set(self.directions):
            user, item = clicks.row_index(), clicks.col.long()
            self.partners = {"ui": clicks.n_cols, "iu": clicks.n_rows}
            self.clicked_ui = torch.unique(user * clicks.n_cols + item)
            self.clicked_iu = torch.unique(item * clicks.n_rows + user)
        self._pools.clear()
        if not resumed:
            self.epoch.fill_(epoch)
        self.active = int(self.epoch) + 1 >= self.config.start
        if self.active and not resumed:
            self._renew(epoch, model, clicks, rng.make_key(seed, "mining", epoch))

    def mined(
        self, direction: Direction, key: int, anchor_id: Tensor, anchor: Tensor, partner_id: Tensor, partner: Tensor
    ) -> Mined | None:
        """What belongs to A anchors; None while nothing is used yet.

        Args:
            direction: what is sought for what.
            key: of the step's random choices.
            anchor_id: int64 [A], users or items of the graph, and ``anchor`` float [A, d] their vectors.
            partner_id: int64 [A], each anchor's own positive (itself in ``uu`` and ``ii``), and ``partner`` float
                [A, d] its vector in the space where neighbours are sought.
        """
        if not self.active:
            return None
        with torch.no_grad(), torch.autocast(anchor.device.type, enabled=False):
            pool = self.pool(SPACES[direction][1])
            if pool.empty:
                return None
            near = self._near(direction, anchor_id, anchor.float(), partner_id, pool)
            hard = self._hard(pool, partner.float(), rng.make_key(key, "hard", direction))
            return _found(pool, near, self._unclicked(direction, anchor_id, hard, pool), partner_id, self.config.weight)

    def _unclicked(self, direction: Direction, anchor_id: Tensor, hard: Tensor, pool: Pool) -> Tensor:
        """The rows of the pool, -1 instead of items that an anchor has clicked and of users who have clicked it."""
        clicked: Tensor | None = getattr(self, f"clicked_{direction}", None)  # by anchor: each one's lie side by side
        if clicked is None or not len(clicked):
            return hard
        pair = anchor_id[:, None] * self.partners[direction] + pool.id[hard.clamp(min=0)]
        at = torch.searchsorted(clicked, pair).clamp(max=len(clicked) - 1)
        return torch.where(clicked[at] == pair, -1, hard)

    def remember(self, vectors: dict[str, tuple[Tensor, Tensor]]) -> None:
        """Take note of a step's vectors, by space: ids int64 [A] and float [A, d]. Tables need none."""

    def pool(self, space: str) -> Pool:
        """What can be found in a space."""
        if space not in self._pools:
            number, vectors, label, centres = (
                getattr(self, f"{space}_{part}") for part in ("id", "vectors", "label", "centres")
            )
            clusters = Clusters.of(label, centres) if len(centres) else None
            self._pools[space] = Pool(number, vectors, centres, clusters, not bool((number >= 0).any()))
        return self._pools[space]

    def _renew(self, epoch: int, model: BoundModel, clicks: Relation, key: int) -> None:
        """Whatever is made anew at the start of an epoch."""
        raise NotImplementedError

    def _near(self, direction: Direction, anchor_id: Tensor, anchor: Tensor, partner_id: Tensor, pool: Pool) -> Tensor:
        """int64 [A, k], rows of the pool, -1 where there are fewer."""
        raise NotImplementedError

    def _hard(self, pool: Pool, partner: Tensor, key: int) -> Tensor:
        """int64 [A, H], rows of clusters other than the one that each partner lies in; -1 where there are none."""
        place = torch.arange(len(partner), device=partner.device)
        lot = rng.bits(key, place, self.config.hard)
        if pool.clusters is None:
            return torch.full_like(lot, -1)
        label = nearest(unit(partner), pool.centres)
        return pool.clusters.others(label, lot, self.config.nearest_other_cluster)

    def _put(self, space: str, number: Tensor, vectors: Tensor) -> None:
        """Fill a space's pool: int64 [N] and float [N, d]."""
        self._pools.clear()
        setattr(self, f"{space}_id", number.clone())  # a checkpoint takes no tensor twice
        setattr(self, f"{space}_vectors", unit(vectors.float()))

    def _cluster(self, space: str, key: int) -> None:
        """Cluster what a space's pool holds."""
        self._pools.clear()
        number, vectors = getattr(self, f"{space}_id"), getattr(self, f"{space}_vectors")
        held = number >= 0
        label = torch.full_like(number, -1)
        if bool(held.any()):
            centres, label[held] = kmeans(vectors[held], self.config.clusters, rng.make_key(key, space))
            setattr(self, f"{space}_centres", centres)
        setattr(self, f"{space}_label", label)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Buffers take the size that was saved: it grows with what has been mined."""
        self._pools.clear()
        for name, buffer in list(self.named_buffers(recurse=False)):
            if prefix + name in state_dict:
                saved = state_dict[prefix + name]
                setattr(self, name, torch.empty_like(saved, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def turns_up(near_id: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of ``near_id`` [A, k] and the places in ``ids`` [B] of what they hold (-1 in them is nothing): int64 [S]."""
    ordered, order = torch.sort(ids)
    first = torch.searchsorted(ordered, near_id)
    count = torch.searchsorted(ordered, near_id, right=True) - first
    owner, place = spans(first.flatten(), count.flatten())  # few: sorting beats comparing every pair
    return owner // max(1, near_id.shape[1]), order[place]


def _found(pool: Pool, near: Tensor, hard: Tensor, partner_id: Tensor, weight: float) -> Mined:
    """Ids and rows of the pool. The anchor's own positive is not counted twice, nor ever a negative, and
    no neighbour is a negative."""
    number = torch.cat([pool.id, pool.id.new_full((1,), -1)])
    near_id, hard_id = number[near], number[hard]
    twice = torch.zeros_like(hard, dtype=torch.bool)
    for one in near_id.unbind(1):
        twice |= hard_id == one[:, None]
    valid = (near_id >= 0) & (near_id != partner_id[:, None])
    fair = (hard_id >= 0) & (hard_id != partner_id[:, None]) & ~twice
    near, hard = near.clamp(min=0), hard.clamp(min=0)  # any row for -1: it is not valid
    return Mined(near_id, Support(pool.vectors, near, valid, hard, fair, weight))
