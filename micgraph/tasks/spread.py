"""A step whose queries are encoded by several processes, or a few at a time in one, with the gradient of the whole.

Tasks see the whole batch, whoever has encoded it. Each process computes the whole loss L; through the queries that it
has encoded itself it sends back their part of dL/d(queries) times the number of processes, so that the mean over the
processes, which is what DDP takes, is dL/d(weights). What every process computes alike, the items first of all, has the
same gradient everywhere, or parts that add up in the same way.

A few queries at a time (gradient caching, Gao et al. 2021) is torch's checkpointing of activations: a slice keeps its
vectors alone, and is encoded again when its part of the gradient is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from micgraph import rng
from micgraph.ranks import ALONE, Ranks
from micgraph.sampling.plan import Batch
from micgraph.sampling.slices import Slice, at_a_time, part, shares, slices
from micgraph.tasks.base import Reps, Task, check_scalar

if TYPE_CHECKING:
    from micgraph.tasks.objective import Items, Objective


@dataclass(frozen=True)
class Queries:
    """What is computed for each query alone; see :class:`micgraph.tasks.base.Reps`.

    Attributes:
        own: float [P, d].
        search: float [P, D].
        views: float [A, d], perturbed ones.
        other: float [B, d] or None.
    """

    own: Tensor
    search: Tensor
    views: tuple[Tensor, ...]
    other: Tensor | None

    def tensors(self) -> tuple[Tensor, ...]:
        """One after the other; :meth:`of` puts them back."""
        return self.own, self.search, *self.views, *(() if self.other is None else (self.other,))

    @classmethod
    def of(cls, tensors: list[Tensor], n_views: int) -> Queries:
        """The queries whose :meth:`tensors` these are, so many of them views."""
        own, search, *rest = tensors
        return cls(own, search, tuple(rest[:n_views]), rest[n_views] if len(rest) > n_views else None)


@dataclass(frozen=True)
class Spread:
    """Who encodes which queries of a batch, and how many at a time.

    Attributes:
        ranks: the processes that train together.
        queries: so many at a time, 0 for all of them.
    """

    ranks: Ranks = ALONE
    queries: int = 0

    def cuts(self, batch: Batch) -> bool:
        """Whether a batch is encoded in parts. One with fewer queries than processes is encoded whole by each."""
        return self.among(batch).size > 1 or 0 < self.queries < len(batch)

    def among(self, batch: Batch) -> Ranks:
        """The processes that share a batch."""
        return self.ranks if len(batch) >= self.ranks.size else ALONE

    def plan(self, batch: Batch) -> list[list[Slice]]:
        """For each process, the slices that it encodes: together every query once."""
        rows = [at_a_time(rows, self.queries) for rows in shares(len(batch), self.among(batch).size)]
        found = iter(slices(batch, list(chain.from_iterable(rows))))
        return [[next(found) for _ in own] for own in rows]


def in_slices(objective: Objective, batch: Batch) -> tuple[Reps, dict[str, Tensor]]:
    """What the tasks read, and their losses. Where no task needs all queries at once, the representations have none.

    A loss has the value of the whole batch in every process, and a gradient of which the mean over the processes is the
    whole loss's.
    """
    ranks, plan = objective.spread.among(batch), objective.spread.plan(batch)
    items, mine = objective.encode_items(batch), plan[ranks.rank]
    tasks = _tasks(objective)
    by_pair = {name: task for name, task in tasks.items() if task.reads == "pairs"}
    sliced = {name: task for name, task in by_pair.items() if len(mine) == 1 or not task.compact}
    found = [_slice(objective, batch, items, one, sliced, again=len(mine) > 1) for one in mine]
    tensors, parts = ([one[cut] for one in found] for cut in _apart(len(sliced)))
    queries = Queries.of([torch.cat(alike) for alike in zip(*tensors, strict=True)], objective.query_view_count)
    losses = {name: torch.stack([one[i] for one in parts]).sum() for i, name in enumerate(sliced)}
    compact = {name: task for name, task in by_pair.items() if name not in sliced}
    losses |= _losses(compact, batch, _whole(mine), objective.reps(items, queries))
    losses = {name: ranks.summed(loss) for name, loss in losses.items()}
    _seed(objective, batch, "tasks")
    reps = objective.reps(items, _gathered(objective, ranks, plan, queries), objective.item_views(batch, items))
    rest = {name: check_scalar(name, task(batch, reps)) for name, task in tasks.items() if name not in losses}
    return reps, {name: losses[name] if name in losses else rest[name] for name in tasks}


def _tasks(objective: Objective) -> dict[str, Task]:
    """By name; what kind of modules it holds a ModuleDict does not say."""
    return cast("dict[str, Task]", dict(objective.tasks.items()))


def _apart(last: int) -> tuple[slice, slice]:
    """Cuts a list into what comes first and the ``last`` ones."""
    return (slice(0, -last), slice(-last, None)) if last else (slice(None), slice(0, 0))


def _slice(
    objective: Objective, batch: Batch, items: Items, piece: Slice, tasks: dict[str, Task], again: bool
) -> list[Tensor]:
    """The tensors of a slice's queries and the part that they have in these tasks' losses; ``again``: nothing else is
    kept, and the slice is encoded again in the backward pass."""

    def encoded() -> list[Tensor]:
        _seed(objective, batch, "queries", piece.rows.start)  # so that it drops the same again
        queries = objective.encode_queries(part(batch, piece), items)
        losses = _losses(tasks, batch, piece, objective.reps(items, queries))
        return [*queries.tensors(), *losses.values()]

    if not again:
        return encoded()
    return checkpoint(encoded, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]


def _losses(tasks: dict[str, Task], batch: Batch, piece: Slice, reps: Reps) -> dict[str, Tensor]:
    """What a slice's pairs add to these tasks' means over all pairs."""
    own = part(batch, piece)
    share = len(own.target) / max(len(batch.target), 1)
    return {name: check_scalar(name, task(own, reps)) * share for name, task in tasks.items()}


def _gathered(objective: Objective, ranks: Ranks, plan: list[list[Slice]], own: Queries) -> Queries:
    """Every process's queries, or none where nobody reads them."""
    mining = objective.mining
    remembered = mining is not None and mining.remembers and objective.training
    if not remembered and all(task.reads != "batch" for task in _tasks(objective).values()):
        return Queries.of([one[:0] for one in own.tensors()], objective.query_view_count)
    sizes = [_whole(slices).sizes for slices in plan]
    rows, pairs, anchors = ([size[kind] for size in sizes] for kind in range(3))
    return Queries(
        own=ranks.gathered(own.own, pairs),
        search=ranks.gathered(own.search, pairs),
        views=tuple(ranks.gathered(view, anchors) for view in own.views),
        other=None if own.other is None else ranks.gathered(own.other, rows),
    )


def _whole(slices: list[Slice]) -> Slice:
    """Consecutive slices as one."""
    first, last = slices[0], slices[-1]
    return Slice(*(slice(getattr(first, n).start, getattr(last, n).stop) for n in ("rows", "pairs", "anchors")))


def _seed(objective: Objective, batch: Batch, *words: int | str) -> None:
    """What is drawn from now on is the same wherever and whenever the same piece is encoded."""
    if objective.training:
        rng.seed_torch(rng.make_key(batch.key, "dropout", *words), batch.sample.device)
