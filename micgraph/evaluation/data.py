"""A holdout in the numbers of a graph: who is tested, from which history, on which clicks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.graph.leakage import among_clicks
from micgraph.graph.split import Holdout
from micgraph.ids import IdMap
from micgraph.knn import Ragged
from micgraph.schema import CLICKS, ITEM_ID, TAGS, TIMESTAMP, USER_ID, InputError, LeakageError

if TYPE_CHECKING:
    import pyarrow as pa

    from micgraph.graph.recgraph import RecGraph


@dataclass(frozen=True)
class EvalData:
    """A holdout in the graph's numbers; B test users, S test clicks.

    Attributes:
        user_ids: [B], as the log gave them.
        users: int64 [B], index in the graph or -1.
        histories: B rows of item indices, oldest first; -1 are items that the graph does not know, as in serving.
        clicks: B rows, every test click, oldest first, repeats included. Items that the graph does not know have
            numbers from ``n_items`` on: nobody can rank them, so they are misses.
        new: bool [S], whether the click's item is absent from the user's whole history.
        n_items: items that can be recommended.
        category: int64 [n_items], 0 where unknown.
        item_clicks: int64 [n_items], clicks in the graph.
        tags: int64 [n_items, T], each item's distinct tags, -1 where it has fewer; an item without any has the tag 0.
            None where the graph has no field ``tags`` of several values.
        counts: what was left out or is unknown.
        manifest: how the split was made.
        graph: fingerprint of the graph whose numbers these are.
    """

    user_ids: pa.Array
    users: Tensor
    histories: Ragged
    clicks: Ragged
    new: Tensor
    n_items: int
    category: Tensor
    item_clicks: Tensor
    graph: str
    counts: dict[str, int] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    tags: Tensor | None = None

    def __len__(self) -> int:
        return len(self.users)

    def drawn(self, most: int, seed: int = 0) -> EvalData:
        """At most so many users, drawn at random and in their order, with all that belongs to them."""
        if len(self) <= most:
            return self
        rows = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:most].sort().values
        new = Ragged(self.clicks.indptr, self.new.long()).pick(rows).items.bool()
        return replace(
            self,
            user_ids=self.user_ids.take(rows.numpy()),
            users=self.users[rows],
            histories=self.histories.pick(rows),
            clicks=self.clicks.pick(rows),
            new=new,
            counts={**self.counts, "test users drawn of these": len(rows)},
        )

    def only_new(self) -> EvalData:
        """Only clicks on items that the user's history does not have; users without any are dropped and counted.

        Raises:
            InputError: no click is left.
        """
        owner = self.clicks.owner()[self.new]
        kept = torch.unique(owner)
        if not len(kept):
            remedy = "evaluate with new_only=False"
            raise InputError("new_only", "a test click on an item new to its user", "none", remedy)
        clicks = _ragged(torch.searchsorted(kept, owner), self.clicks.items[self.new], len(kept))
        place = torch.full((len(self),), -1)
        place[kept] = torch.arange(len(kept))
        past = place[self.histories.owner()]
        time = None if self.histories.time is None else self.histories.time[past >= 0]
        dropped = {
            "users without a new item": len(self) - len(kept),
            "test clicks on items of the history": int((~self.new).sum()),
        }
        return replace(
            self,
            user_ids=self.user_ids.take(kept.numpy()),
            users=self.users[kept],
            histories=_ragged(past[past >= 0], self.histories.items[past >= 0], len(kept), time),
            clicks=clicks,
            new=torch.ones(len(owner), dtype=torch.bool),
            counts={**self.counts, **dropped},
        )


def prepare(holdout: Holdout, graph: RecGraph) -> EvalData:
    """Translate a holdout into the graph's numbers.

    Raises:
        InputError: no holdout but a whole split, say, or one without targets.
        LeakageError: a target (same user, item and second) is a click of the graph.
    """
    targets, past = _events_of(holdout)
    if graph.users is None or graph.items is None:
        raise InputError("graph", "a graph with its external ids", "one without", "load it where pyarrow is installed")
    testers = IdMap.build(targets[USER_ID])
    past = past.filter(testers.index(past[USER_ID]) >= 0)
    owner, past_owner = testers.index(targets[USER_ID]), testers.index(past[USER_ID])
    item, past_item, width = _item_codes(graph.items, targets[ITEM_ID], past[ITEM_ID])
    users = graph.users.index(testers.values)
    _refuse_leakage(graph, users[owner], item, targets[TIMESTAMP].to_numpy())
    known = past_item < graph.n_items
    seconds = past[TIMESTAMP].to_numpy() // 1_000_000
    histories = _ragged(past_owner, np.where(known, past_item, -1), len(testers), seconds)
    clicks = _ragged(owner, item, len(testers))
    pair = clicks.owner() * width + clicks.items
    return EvalData(
        user_ids=testers.values,
        users=torch.from_numpy(users),
        histories=histories,
        clicks=clicks,
        new=~torch.isin(pair, torch.from_numpy(past_owner * width + past_item)),
        n_items=graph.n_items,
        category=graph.category.cpu().long(),
        item_clicks=graph.popularity().cpu().long(),
        graph=graph.fingerprint(),
        counts=_counts(
            users, np.unique(past_owner[known]), item[item >= graph.n_items], len(item), int((~known).sum())
        ),
        manifest=dict(holdout.manifest),
        tags=_tags(graph),
    )


def _tags(graph: RecGraph) -> Tensor | None:
    """Each item's distinct known tags in a row, as :attr:`EvalData.tags` has them."""
    found = graph.item_fields.get(TAGS)
    if found is None or found.offsets is None:
        return None
    owner = torch.repeat_interleave(torch.arange(len(found)), found.offsets.cpu().diff())
    code = found.values.cpu().long()
    pairs = torch.unique(owner[code > 0] * found.size + code[code > 0])  # 0 is a value nobody knows
    owner = pairs // found.size
    count = torch.bincount(owner, minlength=len(found))
    place = torch.arange(len(pairs)) - (count.cumsum(0) - count)[owner]
    tags = torch.full((len(found), max(int(count.max()), 1)), -1)
    tags[count == 0, 0] = 0
    tags[owner, place] = pairs % found.size
    return tags


def _events_of(given: Any) -> tuple[pa.Table, pa.Table]:
    """Targets and histories of what must be a holdout with targets."""
    if not isinstance(given, Holdout):
        remedy = "pass split.test, or split.valid as the validation of a training"
        raise InputError("holdout", "a Holdout, one part of a split", f"a {type(given).__name__}", remedy)
    targets = given.targets.arrow()
    if not len(targets):
        raise InputError("holdout", "at least one target", "none", "choose a longer test window or other fractions")
    return targets, given.histories.arrow()


def _counts(
    users: NDArray[np.int64], read: NDArray[np.int64], foreign: NDArray[np.int64], n_clicks: int, unknown: int
) -> dict[str, int]:
    """What is unknown, by its name in reports; ``read`` are the users of whose history an item is known, ``foreign``
    the clicks that nobody can rank."""
    return {
        "test users": len(users),
        "test users unknown to the graph": int((users < 0).sum()),
        "test users without a history": len(users) - len(read),
        "test clicks": n_clicks,
        "test clicks on items unknown to the graph": len(foreign),
        "test items unknown to the graph": len(np.unique(foreign)),
        "history events on items unknown to the graph": unknown,
    }


def prepared(holdout: Holdout | EvalData, graph: RecGraph) -> EvalData:
    """A holdout in the graph's numbers, whether or not it has been prepared already.

    Raises:
        InputError: it was prepared for another graph; else see :func:`prepare`.
    """
    if not isinstance(holdout, EvalData):
        return prepare(holdout, graph)
    if holdout.graph != graph.fingerprint():
        remedy = "pass the holdout itself, or prepare it with this graph"
        raise InputError("holdout", "data prepared with the run's graph", "data prepared with another graph", remedy)
    return holdout


def _item_codes(items: IdMap, targets: Any, past: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Item indices of two id columns, and how many numbers that takes: ids that the graph does not know get numbers
    from ``len(items)`` on, the same in both columns."""
    import pyarrow as pa

    known = [items.index(column) for column in (targets, past)]
    foreign = [column.filter(pa.array(index < 0)) for column, index in zip((targets, past), known, strict=True)]
    strangers = IdMap.build(foreign[0]).extend(foreign[1])
    codes = [
        np.where(index < 0, len(items) + strangers.index(column), index)
        for column, index in zip((targets, past), known, strict=True)
    ]
    return codes[0], codes[1], len(items) + len(strangers)


def _refuse_leakage(
    graph: RecGraph, user: NDArray[np.int64], item: NDArray[np.int64], micros: NDArray[np.int64]
) -> None:
    """Look for targets (user, item, whole second) among the graph's clicks."""
    leaked, _ = among_clicks(graph.relation(CLICKS), user, item, micros // 1_000_000 - graph.epoch)
    overlap = int(leaked.sum())
    if overlap:
        remedy = "build the graph from split.train, and evaluate on the test part of the same split"
        raise LeakageError("holdout", "no target among the graph's clicks", f"{overlap:,} of {len(user):,}", remedy)


def _ragged(
    owner: Tensor | NDArray[np.int64],
    items: Tensor | NDArray[np.int64],
    n_rows: int,
    time: Tensor | NDArray[np.int64] | None = None,
) -> Ragged:
    """Items by owner, in the order in which they are given."""
    owner, items = torch.as_tensor(owner), torch.as_tensor(items)
    indptr = torch.zeros(n_rows + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(owner, minlength=n_rows), 0, out=indptr[1:])
    order = torch.argsort(owner, stable=True)
    return Ragged(indptr, items[order], None if time is None else torch.as_tensor(time)[order])
