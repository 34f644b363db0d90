"""Mini-batches from the graph: what a batch of samples holds for the tasks that asked for it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from micgraph import rng
from micgraph.graph.context import ItemContext, Reads
from micgraph.graph.elapsed import gaps
from micgraph.graph.membership import members
from micgraph.graph.reading import stretch
from micgraph.graph.relation import Relation, between
from micgraph.graph.tickets import draw
from micgraph.sampling.context import ContextMaker
from micgraph.sampling.local import Local, distinct, every
from micgraph.sampling.negatives import NegativeKind, NegativeSampler
from micgraph.sampling.plan import Batch, DrawnPositives, Requires, SharedNegatives
from micgraph.sampling.positives import reweight_sessions
from micgraph.sampling.samples import Cut, Samples, SamplingConfig
from micgraph.sampling.stretches import other_stretch
from micgraph.schema import CLICKS, CO_OCCURS, SIMILAR, ConfigError

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph

_LOG = logging.getLogger(__name__)

MADE_OF = {SIMILAR: "items with titles, tags, categories or embeddings", CO_OCCURS: "sessions of several items"}
"""What positives of item anchors come from."""

POOL = 24
"""So many batches' pieces are sorted by length at a time: enough to save most padding, few enough to mix well."""


class BatchSampler:
    """Makes the batches of a training run; a batch is a function of (graph, config, seed, epoch, step) alone.

    Args:
        graph: the graph, on the device where batches are wanted.
        config: how clicks become samples.
        requires: what the tasks ask for.
        history: T, how many past clicks an encoder reads.
        seed: of all random choices.
        reads: what the item tower reads of the graph.
        gaps: whether batches say how long after the click before it each click of a history came.

    Raises:
        ConfigError: a task needs a relation that the graph does not have, or no click can be a target.
    """

    def __init__(
        self,
        graph: RecGraph,
        config: SamplingConfig,
        requires: Iterable[Requires],
        history: int = 50,
        seed: int = 0,
        reads: Reads | None = None,
        gaps: bool = True,
    ) -> None:
        self.graph, self.config, self.requires, self.seed = graph, config, list(requires), seed
        self.gaps = gaps
        self.clicks: Relation = self.graph.relation(CLICKS)
        counts = self.graph.popularity()
        self.log_popularity = (counts.double() / counts.sum().clamp(min=1)).log().float().to(self.device)
        self.samplers: dict[NegativeKind, NegativeSampler] = {
            # an item without clicks is not known to have been passed by: it is no negative
            "uniform": NegativeSampler.popularity(counts.clamp(max=1).to(self.device)),
            "popularity": NegativeSampler.popularity(counts.to(self.device)),
        }
        self.any_item = NegativeSampler.uniform(self.graph.n_items, self.device)
        self.unclicked = bool((counts == 0).any())
        self.log_q = {kind: sampler.log_q() for kind, sampler in self.samplers.items()}
        self.positives = {r.positives: self._positive_relation(r.positives) for r in self.requires if r.positives}
        self.full = any(r.full for r in self.requires)
        self.contexts = None if reads is None else ContextMaker(graph, reads)
        self.samples = Samples(self.clicks, config, history)
        if not len(self.samples):
            earlier = ", of earlier seconds (sampling.strict)" if config.strict else ""
            raise ConfigError(
                "sampling.min_history",
                f"at least one click with so many earlier ones{earlier}",
                f"none among {self.clicks.n_edges} clicks with min_history={config.min_history}",
                "lower sampling.min_history, or give a log in which users click more than once",
            )

    @property
    def device(self) -> torch.device:
        """Where the graph lies, hence where batches are made."""
        return self.clicks.device

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self.samples) // self.config.batch_size)

    def order(self, epoch: int) -> Tensor:
        """int64 [n samples], the epoch's order, made on the CPU so that every device agrees.

        The samples of a batch are in the order of the graph: what they read lies side by side.

        With ``positions`` pieces of like length share a batch, so that little is padded: of every :data:`POOL` batches
        in a random order the pieces are sorted, and then the batches shuffled. What does not fill a batch is set aside
        before and comes last: pieces of any length.
        """
        generator = torch.Generator().manual_seed(rng.make_key(self.seed, "order", epoch))
        order = torch.randperm(len(self.samples), generator=generator)
        size = self.config.batch_size
        whole = len(order) // size
        full, rest = order[: whole * size], order[whole * size :]
        if self.config.samples != "positions":
            batches = full.view(whole, size).sort(dim=1).values
            return torch.cat([batches.reshape(-1), rest.sort().values]).to(self.device)
        pool = torch.arange(len(full)) // (POOL * size)
        length = self.samples.length(full.to(self.device)).cpu()
        full = full[torch.argsort(pool * (self.samples.history + 2) + length, stable=True)]
        batches = full.view(whole, size)[torch.randperm(whole, generator=generator)]
        return torch.cat([batches.reshape(-1), rest]).to(self.device)

    def batch(self, epoch: int, step: int, order: Tensor | None = None) -> Batch:
        """The batch of one step; pass ``order`` = :meth:`order` (epoch) to make it once an epoch."""
        order = self.order(epoch) if order is None else order
        pick = order[step * self.config.batch_size : (step + 1) * self.config.batch_size]
        epoch_key = rng.make_key(self.seed, "epoch", epoch)
        return self._make(self.samples.cut(pick, epoch_key), epoch_key, rng.make_key(epoch_key, "step", step))

    def _make(self, cut: Cut, epoch_key: int, key: int) -> Batch:
        """Everything that the tasks asked for, in local numbers."""
        target = self.clicks.col[cut.target].long()
        history, mask = stretch(self.clicks.col, cut.first, cut.stop, cut.size)
        targets = distinct([target], self.graph.n_items)
        anchors = self._item_anchors(targets.items, key)
        drawn = self._drawn(anchors, key)
        negatives = {kind: self.samplers[kind[0]].draw(kind[1], rng.make_key(key, *kind)) for kind in self._kinds()}
        later, (other, other_mask, other_gap) = self._window(cut), self._other(cut, key)
        wanted = [history, targets.items, anchors, *negatives.values(), *(d[0] for d in drawn.values()), later, other]
        local = self._local([one for one in wanted if one is not None])
        context, anchor_context = self._contexts(cut, local.items, anchors, key)
        return Batch(
            key=key,
            sample=cut.sample,
            user=cut.row,
            history=local.places(history, out=history),
            mask=mask,
            gap=self._gap(cut, key),
            pair_row=cut.pair_row,
            pair_at=cut.pair_at,
            target=local.places(target),
            anchor=self._anchor(cut, epoch_key),
            items=local.items,
            log_popularity=self.log_popularity[local.items],
            can_be_negative=self.log_popularity[local.items].isfinite() if self.full and self.unclicked else None,
            distinct_target=local.places(targets.items),
            target_place=targets.places(target),
            item_anchor=local.places(anchors),
            negatives={kind: SharedNegatives(local.places(n), self.log_q[kind[0]][n]) for kind, n in negatives.items()},
            positives={name: self._positives(name, anchors, d, negatives, local) for name, d in drawn.items()},
            clicked=self._clicked(cut.row, negatives),
            target_clicked=self._known("batch", cut.row, targets.items),
            item_clicked=self._known("items", cut.row, local.items),
            window=None if later is None else local.places(later),
            other=None if other is None else local.places(other),
            other_mask=other_mask,
            other_gap=other_gap,
            context=context,
            anchor_context=anchor_context,
        )

    def _drawn(self, anchors: Tensor, key: int) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """One weighted edge of each item anchor (not local) in every relation that a task draws positives from."""
        return {
            name: draw(rel, anchors, 1, rng.make_key(key, name), sample=anchors, weighted=True)
            for name, rel in self.positives.items()
        }

    def _clicked(
        self, row: Tensor, negatives: dict[tuple[NegativeKind, int], Tensor]
    ) -> dict[tuple[NegativeKind, int], Tensor]:
        wanted = {r.negatives for r in self.requires if r.negatives and r.target_mask == "negatives"}
        return {kind: members(self.clicks, row, negatives[kind]) for kind in wanted}

    def _known(self, mask: str, row: Tensor, cols: Tensor) -> Tensor | None:
        """Which of the items ``cols`` the users have clicked, if a task asks for that mask."""
        wanted = any(r.target_mask == mask for r in self.requires)
        return members(self.clicks, row, cols) if wanted else None

    def _gap(self, cut: Cut, key: int) -> Tensor | None:
        """Seconds since the click before; of some histories, chosen by their own numbers, nothing is told."""
        if not self.gaps:
            return None
        timed = rng.uniform(rng.make_key(key, "untimed"), cut.sample, 1) >= self.config.untimed
        return torch.where(timed, self._elapsed(cut.row, cut.first, cut.stop, cut.size), -1)

    def _elapsed(self, row: Tensor, first: Tensor, stop: Tensor, size: int) -> Tensor:
        """Seconds before each of a row's clicks from ``first`` to ``stop``: int64 [B, T]."""
        eid, mask = between(first, stop, size)
        return torch.where(mask, gaps(self.clicks.indptr, self.clicks.time, row, eid), -1)

    def _window(self, cut: Cut) -> Tensor | None:
        """Items (not local) of the longest window that a task asks for: int64 [P, W], -1 beyond the user's last."""
        size = max((r.window for r in self.requires), default=1)
        if size == 1:
            return None
        end = self.clicks.indptr[cut.row[cut.pair_row] + 1]
        return stretch(self.clicks.col, cut.target, torch.minimum(cut.target + size, end), size)[0]

    def _other(self, cut: Cut, key: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Items (not local) of another stretch of each user's clicks, its mask and gaps, all [B, T], if a task asks."""
        if not any(r.other_stretch for r in self.requires):
            return None, None, None
        size = self.samples.history
        first, stop = other_stretch(self.clicks, cut, size, rng.make_key(key, "other stretch"))
        gap = self._elapsed(cut.row, first, stop, size) if self.gaps else None
        return *stretch(self.clicks.col, first, stop, size), gap

    def _contexts(
        self, cut: Cut, items: Tensor, anchors: Tensor, key: int
    ) -> tuple[ItemContext | None, ItemContext | None]:
        """What the graph says about the batch's items and its item anchors, without the clicks to be predicted."""
        if self.contexts is None:
            return None, None
        limit = self.contexts.first_targets(cut.row[cut.pair_row], cut.target)
        around = self.contexts.around(items, rng.make_key(key, "context"), limit)
        if not any(r.item_anchors or r.item_view for r in self.requires):
            return around, None
        return around, self.contexts.around(anchors, rng.make_key(key, "anchor context"), limit)

    def _kinds(self) -> set[tuple[NegativeKind, int]]:
        return {r.negatives for r in self.requires if r.negatives}

    def _item_anchors(self, targets: Tensor, key: int) -> Tensor:
        """Items (not local), each once (DECISIONS 15)."""
        if not any(r.item_anchors or r.positives for r in self.requires):
            return targets[:0]
        count = min(len(targets), self.config.max_anchors)
        if self.config.anchors == "uniform":
            anchors: Tensor = torch.unique(self.any_item.draw(count, rng.make_key(key, "item anchors")))
            return anchors
        if count == len(targets):
            return targets
        lot = rng.bits(key, targets, 1)[:, 0]
        return targets[torch.argsort(lot, stable=True)[:count]]

    def _positives(
        self,
        name: str,
        anchors: Tensor,
        drawn: tuple[Tensor, Tensor, Tensor],
        negatives: dict[tuple[NegativeKind, int], Tensor],
        local: Local,
    ) -> DrawnPositives:
        need = next(r for r in self.requires if r.positives == name)
        assert need.negatives is not None, "a task that draws positives contrasts them with drawn negatives"
        against = negatives[need.negatives]
        positive, valid = drawn[0][:, 0], drawn[2][:, 0]
        blocked = (against[None, :] == anchors[:, None]) | (against[None, :] == positive[:, None])
        if need.block == "neighbours":
            blocked |= members(self.graph.relation(name), anchors, against)
        return DrawnPositives(item=local.places(positive), valid=valid, blocked=blocked)

    def _local(self, wanted: list[Tensor]) -> Local:
        """The items to be encoded."""
        return every(self.graph.n_items, self.device) if self.full else distinct(wanted, self.graph.n_items)

    def _anchor(self, cut: Cut, epoch_key: int) -> Tensor:
        """Some pairs of every query that has any, chosen by the query's own number, each once."""
        pair_row, sample = cut.pair_row, cut.sample
        if cut.pair_at is None:  # each query is one pair
            return pair_row
        count = torch.zeros_like(sample).index_add_(0, pair_row, torch.ones_like(pair_row))[:, None]
        first = torch.cumsum(count, 0) - count
        lots = self.config.anchors_per_query
        lot = rng.integers(rng.make_key(epoch_key, "anchor"), sample, lots, count.clamp(min=1))
        chosen = torch.zeros(len(pair_row) + 1, dtype=torch.bool, device=self.device)
        chosen[torch.where(count > 0, first + lot, len(pair_row))] = True
        return chosen[:-1].nonzero()[:, 0]

    def _positive_relation(self, name: str) -> Relation:
        if name not in self.graph.relations:
            made = MADE_OF.get(name, "what makes such edges")
            remedy = f"build it from {made}, or leave the tasks that draw from it out, as tasks: {{sem: false}}"
            raise ConfigError("tasks", f"a graph with {name} edges", f"one with {list(self.graph.relations)}", remedy)
        rel = self.graph.relation(name)
        if not rel.n_edges:
            _LOG.warning("no item has a neighbour by %s: tasks that draw from it have nothing to learn from", name)
        if name != CO_OCCURS:
            return rel
        popularity = self.graph.popularity().to(self.device)
        category = self.graph.category.to(self.device)
        return reweight_sessions(rel, category, popularity, self.config.same_category_boost, self.config.beta)
