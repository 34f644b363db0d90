"""One training step's forward pass: encode each unique item and query once, then sum the tasks' weighted losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from micgraph import rng
from micgraph.graph.context import ItemContext
from micgraph.graph.fields import Fields, take
from micgraph.graph.relation import Relation
from micgraph.nn.dropout import dropout
from micgraph.nn.export import BoundModel, Surroundings
from micgraph.nn.query import QueryInput
from micgraph.nn.towers import ItemReps, TwoTower
from micgraph.sampling.plan import Batch
from micgraph.tasks.augment import PerturbConfig, keep_mask
from micgraph.tasks.base import Reps, Task, check_scalar
from micgraph.tasks.mining import Mining
from micgraph.tasks.spread import Queries, Spread, in_slices

_ALL = slice(None)


@dataclass(frozen=True)
class Items:
    """What a step has encoded of a batch's items before it encodes queries.

    Attributes:
        own: the items in their own space.
        search: float [U + 1, D], in the space that U2I searches.
        perturbed: for each view of the queries, the items that it reads, where views perturb items.
    """

    own: ItemReps
    search: Tensor
    perturbed: tuple[ItemReps, ...]


class Objective(nn.Module):
    """The towers and their tasks (MicRec Eq. 8, MIC Eq. 10).

    Args:
        towers: the model; it alone is exported.
        tasks: by name; each owns its projector.
        item_fields, user_fields: features of every node of the graph, on the device of the batches.
        perturb: how views differ, for the tasks that read views.
        mining: finds more positives and negatives for the tasks that ask for them.
        surroundings: what the graph says about every item, for towers that read it when all are encoded for mining.
    """

    def __init__(
        self,
        towers: TwoTower,
        tasks: dict[str, Task],
        item_fields: Fields,
        user_fields: Fields,
        perturb: PerturbConfig | None = None,
        mining: Mining | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        super().__init__()
        self.towers, self.surroundings = towers, surroundings
        self.tasks = nn.ModuleDict(tasks)
        self.fields = {"item": item_fields, "user": user_fields}
        self.perturb, self.mining = perturb or PerturbConfig(), mining
        self.spread = Spread()
        self.query_view_count = max((t.views for t in tasks.values() if t.requires.query_view), default=0)
        self.item_view_count = max((t.views for t in tasks.values() if t.requires.item_view), default=0)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all losses, and each one without its weight (detached).

        Where :attr:`spread` cuts the batch up, the values are the same, but for the order of sums and for dropout.
        """
        if self.spread.cuts(batch):
            reps, losses = in_slices(self, batch)
        else:
            reps = self.encode(batch)
            losses = {name: check_scalar(name, task(batch, reps)) for name, task in self.tasks.items()}
        if self.mining is not None and self.mining.remembers and self.training:
            self.mining.remember(_seen(batch, reps))
        weights: dict[str, Any] = {name: task.weight for name, task in self.tasks.items()}
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        return total, {name: loss.detach() for name, loss in losses.items()}

    def begin_epoch(self, epoch: int, clicks: Relation, seed: int, resumed: bool = False) -> None:
        """Mine for an epoch that starts; what one that goes on needs besides its checkpoint is made again.

        Args:
            epoch: counted from 0.
            clicks: the relation from users to items.
            seed: of the run.
            resumed: the epoch goes on from a checkpoint.
        """
        if self.mining is not None:
            model = BoundModel(self.towers, self.fields["item"], self.fields["user"], self.surroundings)
            self.mining.begin_epoch(epoch, model, clicks, seed, resumed)

    def encode(self, batch: Batch) -> Reps:
        """Everything that the tasks read."""
        items = self.encode_items(batch)
        queries = self.encode_queries(batch, items)
        return self.reps(items, queries, self.item_views(batch, items))

    def encode_items(self, batch: Batch) -> Items:
        """The batch's items, which its queries read."""
        own = self.towers.items(take(self.fields["item"], batch.items), context=batch.context)
        perturbed: list[ItemReps] = []
        if self.perturb.sides == "items":
            keys = [rng.make_key(batch.key, "query view", view) for view in range(self.query_view_count)]
            perturbed = [self._perturbed_items(batch.items, batch.context, key) for key in keys]
        return Items(own, self.towers.search_items(own), tuple(perturbed))

    def encode_queries(self, batch: Batch, items: Items) -> Queries:
        """The batch's queries: whatever is computed for each of them alone."""
        user = take(self.fields["user"], batch.user)
        query = self.towers.query_input(items.own, batch.history, batch.mask, user, gap=batch.gap)
        queries = self._pairs(batch, query)
        own, search = _mean_interest(queries), self.towers.search_queries(queries)
        return Queries(
            own=own,
            search=_nearest_interest(search, items.search[batch.target]),
            views=tuple(self._query_view(batch, own, items, user, i) for i in range(self.query_view_count)),
            other=self._other(batch, items.own, user),
        )

    def item_views(self, batch: Batch, items: Items) -> tuple[Tensor, ...]:
        """Perturbed views of the item anchors, as many as the tasks read."""
        return tuple(self._item_view(batch, items.own, view) for view in range(self.item_view_count))

    def reps(self, items: Items, queries: Queries, item_views: tuple[Tensor, ...] = ()) -> Reps:
        """All of it, as tasks read it."""
        return Reps(
            items=items.own,
            search_items=items.search,
            queries=queries.own,
            search_queries=queries.search,
            query_views=queries.views,
            item_views=item_views,
            scale=self.towers.scale,
            mining=self.mining,
            other=queries.other,
        )

    def _pairs(self, batch: Batch, query: QueryInput, wanted: Tensor | slice = _ALL) -> Tensor:
        """The query vector of every pair, or of the ``wanted`` ones: [P, d], or the interests [P, K, d]."""
        row = batch.pair_row[wanted]
        if batch.pair_at is None:
            return self.towers.encode(query)[row]
        width = batch.mask.shape[1]
        cut, which = torch.unique(row * width + batch.pair_at[wanted], return_inverse=True)
        return self.towers.encode_at(query, cut // width, cut % width)[which]

    def _other(self, batch: Batch, items: ItemReps, user: Fields) -> Tensor | None:
        """The query vectors of the samples' other stretches: [B, d]."""
        if batch.other is None or batch.other_mask is None:
            return None
        query = self.towers.query_input(items, batch.other, batch.other_mask, user, gap=batch.other_gap)
        return _mean_interest(self.towers.encode(query))

    def _query_view(self, batch: Batch, own: Tensor, items: Items, user: Fields, view: int) -> Tensor:
        """A perturbed view of each anchor query (MIC 2.4.1): items and user fields masked, then one dropout, in the
        place of the encoder's own on what goes in (DECISIONS 26). Where nothing is perturbed it is the query itself."""
        if self.perturb.sides == "none":
            return own[batch.anchor]
        if self.perturb.sides in ("both", "queries"):
            query = self._perturbed_query(batch, items.own, user, rng.make_key(batch.key, "query view", view))
        else:
            query = self.towers.query_input(items.perturbed[view], batch.history, batch.mask, user, gap=batch.gap)
        return _mean_interest(self._pairs(batch, query, batch.anchor))

    def _perturbed_query(self, batch: Batch, items: ItemReps, user: Fields, key: int) -> QueryInput:
        rate, drop = self.perturb.mask_rate, self.perturb.dropout
        keep = keep_mask(key, batch.sample, batch.mask.shape[1], rate)
        user_keep = keep_mask(rng.make_key(key, "user"), batch.sample, self.towers.query_width, rate)
        history = torch.where(keep, batch.history, -1)
        query = self.towers.query_input(items, history, batch.mask, user, user_keep, batch.gap)
        return replace(
            query,
            own=dropout(query.vectors, drop, self.training),
            raw=dropout(query.fields, drop, self.training),
            user=dropout(query.user, drop, self.training),
            messages=None if query.messages is None else dropout(query.messages, drop, self.training),
            dropped=drop > 0,
        )

    def _item_view(self, batch: Batch, items: ItemReps, view: int) -> Tensor:
        """A perturbed view of each item anchor: fields masked, then dropout on what is left."""
        if self.perturb.sides in ("queries", "none"):
            return items.vectors[batch.item_anchor]
        key = rng.make_key(batch.key, "item view", view)
        return self._perturbed_items(batch.items[batch.item_anchor], batch.anchor_context, key).vectors[:-1]

    def _perturbed_items(self, number: Tensor, context: ItemContext | None, key: int) -> ItemReps:
        """Items of the graph, int64 [n], with some of their fields, latest users and neighbours masked, and dropout."""
        hidden = None if context is None else context.masked(rng.make_key(key, "context"), self.perturb.mask_rate)
        keep = keep_mask(key, number, len(self.towers.item_fields.names), self.perturb.mask_rate)
        fields = take(self.fields["item"], number)
        return self.towers.items(fields, keep, self.perturb.dropout if self.training else 0.0, hidden)


def _seen(batch: Batch, reps: Reps) -> dict[str, tuple[Tensor, Tensor]]:
    """The step's vectors that mining may keep: of the anchor queries and of the distinct targets, in either space."""
    user, target = batch.user[batch.pair_row[batch.anchor]], batch.distinct_target
    return {
        "user_own": (user, reps.queries[batch.anchor]),
        "user_search": (user, reps.search_queries[batch.anchor]),
        "item_own": (batch.items[target], reps.items.vectors[target]),
        "item_search": (batch.items[target], reps.search_items[target]),
    }


def _mean_interest(queries: Tensor) -> Tensor:
    """What user-user contrast and U2U compare (DECISIONS 24): [P, d] as it is, [P, K, d] -> [P, d]."""
    return queries if queries.dim() == 2 else queries.mean(1)


def _nearest_interest(queries: Tensor, target: Tensor) -> Tensor:
    """The interest with the highest score for the target (DECISIONS 24): [P, D] as it is, [P, K, D] -> [P, D]."""
    if queries.dim() == 2:
        return queries
    best = (queries * target[:, None]).sum(-1).argmax(1)
    return queries[torch.arange(len(best), device=best.device), best]
