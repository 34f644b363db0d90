"""Mining by tables of every user's and item's neighbours, made at the start of an epoch (MIC 2.4.2)."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from micgraph import rng
from micgraph.graph.elapsed import gaps
from micgraph.graph.relation import Relation, window
from micgraph.knn import Ragged, topk
from micgraph.nn.export import BoundModel
from micgraph.tasks.mining import SPACES, Direction, Mining, MiningConfig, Pool

USERS_AT_A_TIME = 1024


class Tables(Mining):
    """Every user (read by his latest clicks) and every item, encoded as they are at the start of the epoch.

    Users without any click are not found. Where a query has several interests, each is a row of its own in the search
    space.
    """

    def __init__(self, config: MiningConfig, directions: Collection[Direction]) -> None:
        super().__init__(config, directions)
        for direction in self.directions:
            self.register_buffer(f"near_{direction}", torch.zeros(0, config.k, dtype=torch.int32))

    def _renew(self, epoch: int, model: BoundModel, clicks: Relation, key: int) -> None:
        if (epoch + 1 - self.config.start) % self.config.every:
            return
        for space, (number, vectors) in encode_all(model, clicks, self.spaces).items():
            self._put(space, number, vectors)
            self._cluster(space, rng.make_key(key, "clusters"))
        nodes = {"user": clicks.n_rows, "item": clicks.n_cols}
        for direction in self.directions:
            table = self._table(direction, nodes[SPACES[direction][0].split("_")[0]])
            setattr(self, f"near_{direction}", table)

    def _near(self, direction: Direction, anchor_id: Tensor, anchor: Tensor, partner_id: Tensor, pool: Pool) -> Tensor:
        table: Tensor = getattr(self, f"near_{direction}")
        return table[anchor_id].long()

    def _table(self, direction: Direction, n: int) -> Tensor:
        """int32 [n, k], for every node the rows of the pool that are nearest, best first; -1 where there are fewer."""
        source, target = SPACES[direction]
        anchors, pool = self.pool(source), self.pool(target)
        table = torch.full((n, self.config.k), -1, dtype=torch.int32, device=pool.id.device)
        node = torch.unique_consecutive(anchors.id)
        if not table.numel() or not len(node) or not len(pool.id):
            return table
        interests = anchors.vectors.view(len(node), -1, anchors.vectors.shape[1])
        lines = torch.arange(len(node) + 1, device=node.device)
        itself = Ragged(lines, lines[:-1]) if source == target else None
        per_node = len(pool.id) // len(torch.unique_consecutive(pool.id))
        many = (self.config.k - 1) * per_node + 1  # among so many rows are k different nodes
        rows = topk(interests, pool.vectors, many, "cosine", exclude=itself)[1]
        table[node] = (rows if per_node == 1 else _distinct(rows, pool.id, self.config.k)).to(torch.int32)
        return table


def _distinct(rows: Tensor, number: Tensor, k: int) -> Tensor:
    """The first k of each line of ``rows`` [n, m] (-1: none) that are of different nodes ``number[row]``; else -1."""
    node, order = torch.where(rows >= 0, number[rows.clamp(min=0)], -1).sort(dim=1, stable=True)
    again = torch.zeros_like(rows, dtype=torch.bool)
    again.scatter_(1, order[:, 1:], node[:, 1:] == node[:, :-1])
    first = again.to(torch.uint8).sort(dim=1, stable=True).indices[:, :k]
    return rows.masked_fill(again, -1).gather(1, first)


def encode_all(model: BoundModel, clicks: Relation, spaces: Collection[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Nodes int64 [N], ascending, and their vectors float [N, d] by space.

    Args:
        model: the towers.
        clicks: the relation from users to items; users are read by their latest clicks.
        spaces: some of ``user_own``, ``user_search``, ``item_own``, ``item_search``. In ``user_search`` a user has as
            many rows as interests.
    """
    search, own = model.item_vectors()
    every = torch.arange(clicks.n_cols, device=clicks.device)
    found = {"item_own": (every, own), "item_search": (every, search)}
    if {"user_own", "user_search"} & set(spaces):
        user = (clicks.degree() > 0).nonzero()[:, 0]
        search, own = _encode_users(model, clicks, user)
        found["user_own"] = (user, own)
        found["user_search"] = (user.repeat_interleave(search.shape[1]), search.flatten(0, 1))
    return {space: found[space] for space in spaces}


def _encode_users(model: BoundModel, clicks: Relation, user: Tensor) -> tuple[Tensor, Tensor]:
    """(search [N, K, D], own [N, d]) of users by their latest clicks."""
    search, own = [], []
    for part in user.split(USERS_AT_A_TIME):
        eid, mask = window(clicks, part, clicks.indptr[part + 1], model.history)
        gap = gaps(clicks.indptr, clicks.time, part, eid)
        found = model.encode_queries(torch.where(mask, clicks.col[eid].long(), -1), mask, part, gap=gap)
        search.append(found[0] if found[0].dim() == 3 else found[0][:, None])
        own.append(found[1])
    return torch.cat(search), torch.cat(own)
