"""Which clicks an epoch visits as targets, and the history that belongs to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from micgraph import rng
from micgraph.graph.reading import search
from micgraph.graph.relation import Relation, second_start, window
from micgraph.schema import check_range


@dataclass(frozen=True)
class SamplingConfig:
    """How clicks become training samples.

    Attributes:
        samples: ``positions`` (pieces of histories, scored at every position), ``clicks`` (every click is the target
            of the history before it) or ``users`` (one random click of every user, as ComiRec).
        batch_size: queries a batch: pieces for ``positions``, clicks or users otherwise.
        min_history: clicks with fewer earlier ones are no targets.
        strict: a target's history ends before its second (basket-mates are no history). ``positions`` then leave out
            clicks whose piece holds nothing earlier, and pieces of nothing else; without it they go by order.
        anchors: which items the item-item tasks start from: ``batch`` (the distinct targets, hence popular ones more
            often) or ``uniform`` (as many draws from the whole catalogue, each item once).
        max_anchors: at most so many item anchors a batch.
        anchors_per_query: pairs of each query, at most, that the user-item and user-user tasks contrast; only
            ``positions`` have several.
        untimed: share of the histories whose gaps are hidden, for encoders that read them (``model.time_gaps``): only
            so can histories without times be read as well.
        same_category_boost, beta: weights of session positives, see :mod:`micgraph.sampling.positives`.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    samples: Literal["positions", "clicks", "users"] = "clicks"
    batch_size: int = 1024
    min_history: int = 1
    strict: bool = True
    anchors: Literal["batch", "uniform"] = "batch"
    max_anchors: int = 2048
    anchors_per_query: int = 1
    untimed: float = 0.1
    same_category_boost: float = 2.0
    beta: float = 0.0

    def __post_init__(self) -> None:
        check_range(vars(self), "batch_size max_anchors anchors_per_query", at_least=1)
        check_range(vars(self), "min_history beta", at_least=0)
        check_range(vars(self), "untimed", at_least=0, at_most=1)
        check_range(vars(self), "same_category_boost", above=0)


def tied_share(clicks: Relation) -> float:
    """Of the clicks that have one before them in their row, the share that has the same second as that one."""
    if clicks.time is None:
        return 0.0
    follows = clicks.row_index().diff() == 0
    return float((follows & (clicks.time.diff() == 0)).sum() / follows.sum().clamp(min=1))


@dataclass(frozen=True)
class Cut:
    """B histories and the P clicks that came after them; all edges are offsets into the clicks.

    Attributes:
        sample: int64 [B], the samples' numbers.
        row: int64 [B], users.
        first, stop: int64 [B], which clicks are read: from ``first`` to before ``stop``.
        size: T, no history has more.
        pair_row: int64 [P], which history a target belongs to.
        pair_at: int64 [P], the place in the history after which it came, or None where a history has one target.
        target: int64 [P], the targets' clicks.
    """

    sample: Tensor
    row: Tensor
    first: Tensor
    stop: Tensor
    size: int
    pair_row: Tensor
    pair_at: Tensor | None
    target: Tensor


class Samples:
    """The samples of one graph. What they take grows with the users, not with the clicks.

    Args:
        clicks: the relation from users to items.
        config: how clicks become samples.
        history: T, how many clicks are read.

    Attributes:
        rows: int64, users: of each piece (``positions``), or those who have a target (``users``).
        stops: int64 [n pieces], the pieces' ends (``positions``).
        first: int64 [n users], each one's first target, an offset into the clicks: all after it are targets too.
        before: int64 [n users + 1], targets of the users before each (``clicks``).
        near: int64 [some n users], the user of every :attr:`stride`-th sample (``clicks``).
    """

    def __init__(self, clicks: Relation, config: SamplingConfig, history: int) -> None:
        self.clicks, self.config, self.history = clicks, config, history
        if config.samples == "positions":
            self.rows, self.stops = self._piece_ends()
            self._size = len(self.rows)
            return
        self.first = self._first_targets()
        count = clicks.indptr[1:] - self.first
        if config.samples == "users":
            self.rows = count.nonzero()[:, 0]
            self._size = len(self.rows)
        else:
            self.before = F.pad(torch.cumsum(count, 0), (1, 0))
            self._size = int(self.before[-1])
            self.stride = max(1, self._size // max(len(count), 1))
            self.near = self._owner(torch.arange(0, self._size, self.stride, device=count.device))

    def __len__(self) -> int:
        return self._size

    def cut(self, pick: Tensor, epoch_key: int) -> Cut:
        """The samples numbered ``pick`` int64 [B]; the key chooses among a user's clicks."""
        return self._pieces(pick) if self.config.samples == "positions" else self._cuts(pick, epoch_key)

    def length(self, pick: Tensor) -> Tensor:
        """int64 [B], the clicks of the pieces numbered ``pick`` int64 [B], their last targets included (with
        ``positions``)."""
        return (self.stops[pick] - self.clicks.indptr[self.rows[pick]]).clamp(max=self.history + 1)

    def _first_targets(self) -> Tensor:
        """The first click of each row that has enough history, the row's end where none has."""
        rel, least = self.clicks, self.config.min_history
        begin, end = rel.indptr[:-1], rel.indptr[1:]
        first = torch.minimum(begin + least, end)
        if not (least and rel.n_edges and self.config.strict) or rel.time is None:
            return first
        latest = rel.time[(first - 1).clamp(min=0)]  # of the clicks that are asked for
        return torch.where(begin + least <= end, search(rel.time, first, end, latest, True, rel.longest), end)

    def _before(self, row: Tensor, target: Tensor) -> Tensor:
        """Where the history of each target ends, an offset into the clicks; int64, all of one shape."""
        if self.config.strict and self.clicks.time is not None:
            return second_start(self.clicks, row, target)
        return target

    def _piece_ends(self) -> tuple[Tensor, Tensor]:
        """Row and end of every piece that has a target. Its last click has one if any has: most lies before it."""
        rel, size = self.clicks, self.history
        targets = (rel.degree() - max(self.config.min_history, 1)).clamp(min=0)
        pieces = torch.div(targets + size - 1, size, rounding_mode="floor")
        row = torch.repeat_interleave(torch.arange(rel.n_rows, device=rel.device), pieces)
        nth = torch.arange(len(row), device=rel.device) - (torch.cumsum(pieces, 0) - pieces)[row]
        stop = rel.indptr[row + 1] - nth * size
        keep = self._scored(row, torch.maximum(stop - size - 1, rel.indptr[row]), self._before(row, stop - 1))
        return row[keep], stop[keep]

    def _scored(self, row: Tensor, first: Tensor, past: Tensor) -> Tensor:
        """Whether a click is a target: its history, which ends at the offset ``past``, has enough clicks, and one at
        least from ``first`` on, where its piece begins. All int64, shapes that go together."""
        return (past > first) & (past - self.clicks.indptr[row] >= self.config.min_history)

    def _pieces(self, pick: Tensor) -> Cut:
        """Pieces of T + 1 clicks: the first T are read, the last T are targets after the clicks before them."""
        row, stop = self.rows[pick], self.stops[pick]
        eid, mask = window(self.clicks, row, stop, int(self.length(pick).max()))
        owner = row[:, None].expand(-1, eid.shape[1] - 1)
        past = self._before(owner, eid[:, 1:])
        pair_row, place = (mask[:, 1:] & self._scored(owner, eid[:, :1], past)).nonzero(as_tuple=True)
        at = past[pair_row, place] - 1 - eid[pair_row, 0]
        target = eid[pair_row, place + 1]
        return Cut(stop, row, eid[:, 0], stop - 1, eid.shape[1] - 1, pair_row, at, target)

    def _cuts(self, pick: Tensor, epoch_key: int) -> Cut:
        if self.config.samples == "clicks" and pick.device.type == "cpu":
            row, target, first, stop = self._of_clicks_compiled(pick)
        else:
            of_users = self.config.samples == "users"
            row, target = self._of_users(pick, epoch_key) if of_users else self._of_clicks(pick)
            stop = self._before(row, target)
            first = torch.maximum(self.clicks.indptr[row], stop - self.history)
        sample = row if self.config.samples == "users" else target
        return Cut(sample, row, first, stop, self.history, torch.arange(len(row), device=row.device), None, target)

    def _of_users(self, pick: Tensor, epoch_key: int) -> tuple[Tensor, Tensor]:
        """Users, and one target of each."""
        row = self.rows[pick]
        first = self.first[row]
        lot = rng.integers(epoch_key, row, 1, (self.clicks.indptr[row + 1] - first)[:, None])
        return row, first + lot[:, 0]

    def _of_clicks(self, pick: Tensor) -> tuple[Tensor, Tensor]:
        """The users of targets, and the targets."""
        row = self._owner(pick)
        return row, self.first[row] + pick - self.before[row]

    def _owner(self, pick: Tensor) -> Tensor:
        return torch.searchsorted(self.before, pick, right=True) - 1

    def _of_clicks_compiled(self, pick: Tensor) -> Tensor:
        """Users, targets, and where what is read begins and ends: int64 [4, B]."""
        from micgraph.sampling import cut_kernel

        found = torch.empty(4, len(pick), dtype=torch.int64)
        samples = self.before.numpy(), self.first.numpy(), self.near.numpy(), self.stride
        time = self.clicks.time if self.config.strict else None
        times = np.zeros(0, np.int32) if time is None else time.numpy()
        out = tuple(found.numpy())
        cut_kernel.of_clicks(pick.numpy(), samples, self.clicks.indptr.numpy(), times, self.history, out)
        return found
