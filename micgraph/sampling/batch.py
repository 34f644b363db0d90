"""Mini-batches from the graph: which samples an epoch visits, and what a batch of them holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from micgraph import rng
from micgraph.graph.relation import Relation, draw, locate, window
from micgraph.sampling.negatives import NegativeKind, NegativeSampler, known_positives
from micgraph.sampling.plan import Batch, DrawnPositives, Requires, SharedNegatives
from micgraph.sampling.positives import reweight_sessions
from micgraph.schema import CLICKS, CO_OCCURS, ConfigError, check_range

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph


@dataclass(frozen=True)
class SamplingConfig:
    """How clicks become training samples.

    Attributes:
        samples: ``positions`` (pieces of histories, scored at every position), ``clicks`` (every click is the target
            of the history before it) or ``users`` (one random click of every user, as ComiRec).
        batch_size: queries a batch: pieces for ``positions``, clicks or users otherwise.
        min_history: clicks with fewer earlier ones are no targets.
        strict: a target's history ends before its second (basket-mates are no history); ``positions`` go by order.
        max_anchors: at most so many item anchors a batch.
        anchors_per_query: pairs of each query, at most, that the user-item and user-user tasks contrast; only
            ``positions`` have several.
        same_category_boost, beta: weights of session positives, see :mod:`micgraph.sampling.positives`.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    samples: Literal["positions", "clicks", "users"] = "clicks"
    batch_size: int = 1024
    min_history: int = 1
    strict: bool = True
    max_anchors: int = 2048
    anchors_per_query: int = 1
    same_category_boost: float = 2.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        check_range(vars(self), "batch_size max_anchors anchors_per_query", at_least=1)
        check_range(vars(self), "min_history beta", at_least=0)
        check_range(vars(self), "same_category_boost", above=0)


@dataclass
class BatchSampler:
    """Makes the batches of a training run; a batch is a function of (graph, config, seed, epoch, step) alone.

    Args:
        graph: the graph, on the device where batches are wanted.
        config: how clicks become samples.
        requires: what the tasks ask for.
        history: T, how many past clicks an encoder reads.
        seed: of all random choices.

    Raises:
        ConfigError: a task needs a relation that the graph does not have, or no click can be a target.
    """

    graph: RecGraph
    config: SamplingConfig
    requires: Iterable[Requires]
    history: int = 50
    seed: int = 0
    rows: Tensor = field(init=False, repr=False)
    stops: Tensor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.requires = list(self.requires)
        self.clicks: Relation = self.graph.relation(CLICKS)
        counts = self.graph.popularity()
        self.log_popularity = (counts.double() / counts.sum().clamp(min=1)).log().float().to(self.device)
        self.samplers: dict[NegativeKind, NegativeSampler] = {
            "uniform": NegativeSampler.uniform(self.graph.n_items, self.device),
            "popularity": NegativeSampler.popularity(counts.to(self.device)),
        }
        self.positives = {r.positives: self._positive_relation(r.positives) for r in self.requires if r.positives}
        self.full = any(r.full for r in self.requires)
        self.rows, self.stops = self._samples()
        if not len(self.rows):
            raise ConfigError(
                "sampling.min_history",
                "at least one click with so many earlier ones",
                f"none among {self.clicks.n_edges} clicks with min_history={self.config.min_history}",
                "lower sampling.min_history, or give a log in which users click more than once",
            )

    @property
    def device(self) -> torch.device:
        """Where the graph lies, hence where batches are made."""
        return self.clicks.device

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self.rows) // self.config.batch_size)

    def order(self, epoch: int) -> Tensor:
        """int64 [n samples], the epoch's order. Made on the CPU so that every device agrees."""
        generator = torch.Generator().manual_seed(rng.make_key(self.seed, "order", epoch))
        return torch.randperm(len(self.rows), generator=generator).to(self.device)

    def batch(self, epoch: int, step: int, order: Tensor | None = None) -> Batch:
        """The batch of one step; pass ``order`` = :meth:`order` (epoch) to make it once an epoch."""
        order = self.order(epoch) if order is None else order
        pick = order[step * self.config.batch_size : (step + 1) * self.config.batch_size]
        epoch_key = rng.make_key(self.seed, "epoch", epoch)
        if self.config.samples == "positions":
            return self._finish(epoch_key, step, *self._pieces(pick))
        return self._finish(epoch_key, step, *self._cuts(pick, epoch_key))

    def _samples(self) -> tuple[Tensor, Tensor]:
        """Row of every sample, and its piece's end, its target's offset or (users) its place among the users."""
        if self.config.samples == "positions":
            return self._piece_ends()
        row, eid = self._targets()
        if self.config.samples == "clicks":
            return row, eid
        users, count = torch.unique_consecutive(row, return_counts=True)
        self._first = torch.cumsum(count, 0) - count
        self._choices, self._count = eid, count
        return users, torch.arange(len(users), device=self.device)

    def _targets(self) -> tuple[Tensor, Tensor]:
        """Row and offset of every click that has enough history."""
        rel, config = self.clicks, self.config
        row, eid = rel.row_index(), torch.arange(rel.n_edges, device=rel.device)
        stop = locate(rel, row, rel.time) if config.strict and rel.time is not None else eid
        keep = stop - rel.indptr[row] >= config.min_history
        return row[keep], eid[keep]

    def _piece_ends(self) -> tuple[Tensor, Tensor]:
        rel, size = self.clicks, self.history
        targets = (rel.degree() - max(self.config.min_history, 1)).clamp(min=0)
        pieces = torch.div(targets + size - 1, size, rounding_mode="floor")
        row = torch.repeat_interleave(torch.arange(rel.n_rows, device=rel.device), pieces)
        nth = torch.arange(len(row), device=rel.device) - (torch.cumsum(pieces, 0) - pieces)[row]
        return row, rel.indptr[row + 1] - nth * size

    def _pieces(self, pick: Tensor) -> tuple[Tensor, ...]:
        """Pieces of T + 1 clicks: the first T are read, the last T are the targets after each of them."""
        row, stop = self.rows[pick], self.stops[pick]
        eid, mask = window(self.clicks, row, stop, self.history + 1)
        read = mask[:, 1:]
        scored = read & (eid[:, 1:] - self.clicks.indptr[row][:, None] >= self.config.min_history)
        pair_row, pair_at = scored.nonzero(as_tuple=True)
        return stop, row, eid[:, :-1], read, pair_row, pair_at, eid[:, 1:][scored]

    def _cuts(self, pick: Tensor, epoch_key: int) -> tuple[Tensor, ...]:
        row, target = self.rows[pick], self.stops[pick]
        sample = target
        if self.config.samples == "users":
            sample = row
            lot = rng.integers(epoch_key, row, 1, self._count[target][:, None])[:, 0]
            target = self._choices[self._first[target] + lot]
        stop = target
        if self.config.strict and self.clicks.time is not None:
            stop = locate(self.clicks, row, self.clicks.time[target])
        eid, mask = window(self.clicks, row, stop, self.history)
        return sample, row, eid, mask, torch.arange(len(row), device=self.device), target.new_zeros(0), target

    def _finish(
        self,
        epoch_key: int,
        step: int,
        sample: Tensor,
        row: Tensor,
        eid: Tensor,
        mask: Tensor,
        pair_row: Tensor,
        pair_at: Tensor,
        target_eid: Tensor,
    ) -> Batch:
        key = rng.make_key(epoch_key, "step", step)
        history = torch.where(mask, self.clicks.col[eid].long(), -1)
        target = self.clicks.col[target_eid].long()
        distinct, place = torch.unique(target, return_inverse=True)
        anchors = self._item_anchors(distinct, key)
        drawn = {
            name: draw(rel, anchors, 1, rng.make_key(key, name), sample=anchors, weighted=True)
            for name, rel in self.positives.items()
        }
        negatives = {kind: self.samplers[kind[0]].draw(kind[1], rng.make_key(key, *kind)) for kind in self._kinds()}
        wanted = [history.reshape(-1), distinct, *negatives.values(), *(d[0][:, 0] for d in drawn.values())]
        items, slot = self._relabel(wanted)
        return Batch(
            key=key,
            sample=sample,
            user=row,
            history=slot[history],
            mask=mask,
            pair_row=pair_row,
            pair_at=pair_at if self.config.samples == "positions" else None,
            target=slot[target],
            anchor=self._anchor(pair_row, sample, epoch_key),
            items=items,
            log_popularity=self.log_popularity[items],
            distinct_target=slot[distinct],
            target_place=place,
            item_anchor=slot[anchors],
            negatives={k: SharedNegatives(slot[n], self.samplers[k[0]].log_q()[n]) for k, n in negatives.items()},
            positives={name: self._positives(name, anchors, d, negatives, slot) for name, d in drawn.items()},
            clicked={
                r.negatives: known_positives(self.clicks, row, negatives[r.negatives])
                for r in self.requires
                if r.negatives and r.target_mask == "negatives"
            },
            target_clicked=known_positives(self.clicks, row, distinct)
            if any(r.target_mask == "batch" for r in self.requires)
            else None,
        )

    def _kinds(self) -> set[tuple[NegativeKind, int]]:
        return {r.negatives for r in self.requires if r.negatives}

    def _item_anchors(self, distinct: Tensor, key: int) -> Tensor:
        if not any(r.item_anchors or r.positives for r in self.requires):
            return distinct[:0]
        if len(distinct) <= self.config.max_anchors:
            return distinct
        lot = rng.bits(key, distinct, 1)[:, 0]
        return distinct[torch.argsort(lot, stable=True)[: self.config.max_anchors]]

    def _positives(
        self,
        name: str,
        anchors: Tensor,
        drawn: tuple[Tensor, Tensor, Tensor],
        negatives: dict[tuple[NegativeKind, int], Tensor],
        slot: Tensor,
    ) -> DrawnPositives:
        need = next(r for r in self.requires if r.positives == name)
        assert need.negatives is not None, "a task that draws positives contrasts them with drawn negatives"
        against = negatives[need.negatives]
        positive, valid = drawn[0][:, 0], drawn[2][:, 0]
        blocked = (against[None, :] == anchors[:, None]) | (against[None, :] == positive[:, None])
        if need.block == "neighbours":
            blocked |= known_positives(self.graph.relation(name), anchors, against)
        return DrawnPositives(item=slot[positive], valid=valid, blocked=blocked)

    def _relabel(self, wanted: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The distinct items, ascending, and the table from item to local place (its last entry answers -1)."""
        n = self.graph.n_items
        present = torch.zeros(n + 1, dtype=torch.bool, device=self.device)
        if self.full:
            present[:] = True
        else:
            present[torch.cat(wanted)] = True
        present[n] = False
        items = present.nonzero()[:, 0]
        slot = torch.full((n + 1,), -1, dtype=torch.int64, device=self.device)
        slot[items] = torch.arange(len(items), device=self.device)
        return items, slot

    def _anchor(self, pair_row: Tensor, sample: Tensor, epoch_key: int) -> Tensor:
        """Some pairs of every query that has any, chosen by the query's own number, each once."""
        count = torch.bincount(pair_row, minlength=len(sample))[:, None]
        first = torch.cumsum(count, 0) - count
        lots = self.config.anchors_per_query
        lot = rng.integers(rng.make_key(epoch_key, "anchor"), sample, lots, count.clamp(min=1))
        chosen: Tensor = torch.unique((first + lot)[(count > 0).expand_as(lot)])
        return chosen

    def _positive_relation(self, name: str) -> Relation:
        rel = self.graph.relation(name)
        if name != CO_OCCURS:
            return rel
        popularity = self.graph.popularity().to(self.device)
        category = self.graph.category.to(self.device)
        return reweight_sessions(rel, category, popularity, self.config.same_category_boost, self.config.beta)
