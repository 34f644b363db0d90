"""One training step's forward pass: encode each unique item and query once, then sum the tasks' weighted losses."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from micgraph import rng
from micgraph.graph.fields import Fields, take
from micgraph.nn.query import QueryInput
from micgraph.nn.towers import ItemReps, TwoTower
from micgraph.sampling.plan import Batch
from micgraph.tasks.augment import PerturbConfig, keep_mask
from micgraph.tasks.base import Reps, Task


class Objective(nn.Module):
    """The towers and their tasks (MicRec Eq. 8, MIC Eq. 10).

    Args:
        towers: the model; it alone is exported.
        tasks: by name; each owns its projector.
        item_fields, user_fields: features of every node of the graph, on the device of the batches.
        perturb: how views differ, for the tasks that read views.
    """

    def __init__(
        self,
        towers: TwoTower,
        tasks: dict[str, Task],
        item_fields: Fields,
        user_fields: Fields,
        perturb: PerturbConfig | None = None,
    ) -> None:
        super().__init__()
        self.towers = towers
        self.tasks = nn.ModuleDict(tasks)
        self.fields = {"item": item_fields, "user": user_fields}
        self.perturb = perturb or PerturbConfig()
        self.query_view_count = max((t.views for t in tasks.values() if t.requires.query_view), default=0)
        self.item_view_count = max((t.views for t in tasks.values() if t.requires.item_view), default=0)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all losses, and each one without its weight (detached)."""
        reps = self.encode(batch)
        losses = {name: task(batch, reps) for name, task in self.tasks.items()}
        total = torch.stack([self.tasks[name].weight * loss for name, loss in losses.items()]).sum()
        return total, {name: loss.detach() for name, loss in losses.items()}

    def encode(self, batch: Batch) -> Reps:
        """Everything that the tasks read."""
        items = self.towers.items(take(self.fields["item"], batch.items))
        user = take(self.fields["user"], batch.user)
        queries = self._pairs(batch, self.towers.query_input(items, batch.history, batch.mask, user))
        search_items, search_queries = self.towers.search_items(items), self.towers.search_queries(queries)
        return Reps(
            items=items,
            search_items=search_items,
            queries=_mean_interest(queries),
            search_queries=_nearest_interest(search_queries, search_items[batch.target]),
            query_views=tuple(self._query_view(batch, items, user, i) for i in range(self.query_view_count)),
            item_views=tuple(self._item_view(batch, i) for i in range(self.item_view_count)),
            scale=self.towers.scale,
        )

    def _pairs(self, batch: Batch, query: QueryInput) -> Tensor:
        """The query vector of every pair [P, d], or its interests [P, K, d]."""
        if batch.pair_at is None:
            return self.towers.encoder(query)[batch.pair_row]  # type: ignore[no-any-return]
        return self.towers.encoder.positions(query)[batch.pair_row, batch.pair_at]

    def _query_view(self, batch: Batch, items: ItemReps, user: Fields, view: int) -> Tensor:
        """A perturbed view of each anchor query (MIC 2.4.1): items and user fields masked, then dropout."""
        rate, drop = self.perturb.mask_rate, self.perturb.dropout
        key = rng.make_key(batch.key, "query view", view)
        keep = keep_mask(key, batch.sample, batch.mask.shape[1], rate)
        user_keep = keep_mask(rng.make_key(key, "user"), batch.sample, self.towers.query_width, rate)
        history = torch.where(keep, batch.history, -1)
        query = self.towers.query_input(items, history, batch.mask, user, user_keep)
        query = replace(
            query,
            vectors=F.dropout(query.vectors, drop, self.training),
            fields=F.dropout(query.fields, drop, self.training),
            user=F.dropout(query.user, drop, self.training),
        )
        return _mean_interest(self._pairs(batch, query)[batch.anchor])

    def _item_view(self, batch: Batch, view: int) -> Tensor:
        """A perturbed view of each item anchor: fields masked, then dropout on what is left."""
        anchors = batch.items[batch.item_anchor]
        key = rng.make_key(batch.key, "item view", view)
        keep = keep_mask(key, anchors, len(self.towers.item_fields.names), self.perturb.mask_rate)
        fields = take(self.fields["item"], anchors)
        return self.towers.items(fields, keep, self.perturb.dropout if self.training else 0.0).vectors[:-1]


def _mean_interest(queries: Tensor) -> Tensor:
    """What user-user contrast and U2U compare (DECISIONS 24): [P, d] as it is, [P, K, d] -> [P, d]."""
    return queries if queries.dim() == 2 else queries.mean(1)


def _nearest_interest(queries: Tensor, target: Tensor) -> Tensor:
    """The interest with the highest score for the target (DECISIONS 24): [P, D] as it is, [P, K, D] -> [P, D]."""
    if queries.dim() == 2:
        return queries
    best = (queries * target[:, None]).sum(-1).argmax(1)
    return queries[torch.arange(len(best), device=best.device), best]
