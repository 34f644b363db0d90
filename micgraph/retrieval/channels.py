"""The three channels of MIC (2.2, 2.8): items near the user, items of similar users, items similar to the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from micgraph.graph.relation import Relation, window
from micgraph.knn import Metric, NeighborTable, Ragged, Subset, VectorIndex
from micgraph.retrieval.own_lists import among_own
from micgraph.retrieval.stages import Stage

ChannelName = str
CHANNELS: tuple[ChannelName, ...] = ("u2i", "u2u", "i2i")
"""MIC's. :mod:`micgraph.retrieval.extra` has those that users register, which come behind them."""


@dataclass(frozen=True)
class Queries:
    """B encoded users.

    Attributes:
        items: int64 [B, M], the latest clicks, oldest first, valid ones first; -1 is an unknown item.
        mask: bool [B, M].
        user: int64 [B], -1 for somebody the graph does not know.
        search: float [B, d] or [B, K, d].
        own: float [B, d'].
        exclude: items that a user must not get, or None.
        known: bool [B], whether ``own`` says anything about the user; None where it does for all.
        only: the only items that a user may get, ascending, each once; None where all may be.
    """

    items: Tensor
    mask: Tensor
    user: Tensor
    search: Tensor
    own: Tensor
    exclude: Ragged | None = None
    known: Tensor | None = None
    only: Ragged | None = None

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True)
class Allowed:
    """The only items that may be found, prepared once for all batches of a call.

    Attributes:
        mask: bool [N].
        subset: the same items, ready for the search.
    """

    mask: Tensor
    subset: Subset

    @classmethod
    def of(cls, index: VectorIndex, ids: Tensor) -> Allowed:
        """The items ``ids`` int64 [C] of the item store ``index``."""
        mask = torch.zeros(len(index), dtype=torch.bool, device=index.vectors.device)
        mask[ids] = True
        return cls(mask, index.subset(ids))


@dataclass(frozen=True)
class Candidates:
    """What one channel found: every occurrence of an item stands for itself.

    Attributes:
        items: int64 [B, C].
        mask: bool [B, C], which places are filled.
        weight: float32 [B, C]: the score of the search (U2I), or the similarity of what brought the item.
        trigger: int64 [B, C], the similar user (U2U) or the item of the history (I2I) that brought it; -1 in U2I.
    """

    items: Tensor
    mask: Tensor
    weight: Tensor
    trigger: Tensor

    @classmethod
    def of(cls, items: Tensor, weight: Tensor | None = None, trigger: Tensor | None = None) -> Candidates:
        """Candidates of which ``items`` int64 [B, C] has -1 where a place is empty.

        Args:
            items: the items.
            weight: float [B, C], how strongly each is meant; 1 by default.
            trigger: int64 [B, C], what brought it, -1 for nothing in particular; that by default.
        """
        weight = torch.ones_like(items, dtype=torch.float32) if weight is None else weight.float()
        trigger = torch.full_like(items, -1) if trigger is None else trigger
        return cls(items.clamp(min=0), items >= 0, weight, trigger)


class Channel(Protocol):
    """One way from a user to items."""

    def find(self, queries: Queries, allowed: Allowed | None = None) -> Candidates:
        """Candidates of every user, without what it must not get.

        Args:
            queries: the users.
            allowed: which items may be found; all by default.
        """


@dataclass(frozen=True)
class U2I:
    """The ``k1`` items nearest to the user's search vector."""

    index: VectorIndex
    k1: int

    @Stage("search")
    def near(self, queries: Queries, allowed: Allowed | None = None) -> tuple[Tensor, Tensor]:
        """Scores float32 and items int64 [B, k1], best first; -inf and -1 where there are fewer. The search itself
        leaves out what must not be found."""
        if queries.only is not None:
            return among_own(queries.search, self.index, self.k1, queries.only, queries.exclude)
        among = None if allowed is None else allowed.subset
        return self.index.search(queries.search, self.k1, queries.exclude, among)

    def find(self, queries: Queries, allowed: Allowed | None = None) -> Candidates:
        """See :meth:`Channel.find`."""
        score, items = self.near(queries, allowed)
        found = items >= 0
        return Candidates(items.clamp(min=0), found, torch.where(found, score, 0.0), torch.full_like(items, -1))


class Clicked(NamedTuple):
    """Where the clicks of similar users stand.

    Attributes:
        clicks: rows of clicks.
        rows: int64 [B, m1], the row of each similar user, -1 behind them.
        users: int64 [R], whose each row is, ascending; None where rows are the graph's.
    """

    clicks: Relation
    rows: Tensor
    users: Tensor | None = None


@dataclass(frozen=True)
class U2U:
    """The latest ``m2`` clicks of each of the ``m1`` users whose own vectors are most similar (cosine).

    Attributes:
        users: the own vectors [U, d'] of the graph's users, by cosine.
        clicks: user -> item.
        live: begins to read the latest clicks of some users, int64 [R], and returns what gives them: rows, or None
            where they have no more than ``clicks`` says.
    """

    users: VectorIndex
    clicks: Relation
    m1: int
    m2: int
    live: Callable[[Tensor, int], Callable[[], Relation | None]] | None = None

    @Stage("search")
    def alike(self, queries: Queries) -> tuple[Tensor, Tensor]:
        """The similar users: cosine float32 and number int64 [B, m1], best first; 0 and -1 where there are fewer.

        A user is never similar to itself, and nobody to one of whom nothing is known.
        """
        itself = Ragged(torch.arange(len(queries) + 1, device=queries.user.device), queries.user)
        weight, alike = self.users.search(queries.own, self.m1, exclude=itself)
        found = alike >= 0
        if queries.known is not None:
            found = found & queries.known[:, None]
        return torch.where(found, weight, 0.0), torch.where(found, alike, -1)

    def read(self, alike: Tensor) -> Clicked:
        """The clicks of similar users int64 [B, m1], -1 behind them; of all of them in one read where they are live."""
        return self.begin(alike)()

    def begin(self, alike: Tensor) -> Callable[[], Clicked]:
        """Begin to :meth:`read`, so that other work is done until live clicks are there."""
        if self.live is None:
            return lambda: Clicked(self.clicks, alike)
        found = alike >= 0
        users, place = torch.unique(alike[found], return_inverse=True)
        coming = self.live(users, self.m2)

        def read() -> Clicked:
            clicks = coming()
            if clicks is None:
                return Clicked(self.clicks, alike)
            return Clicked(clicks, torch.full_like(alike, -1).masked_scatter(found, place), users)

        return read

    def find(self, queries: Queries, allowed: Allowed | None = None) -> Candidates:
        """See :meth:`Channel.find`."""
        weight, alike = self.alike(queries)
        clicks, at, _ = self.read(alike)
        found, rows = at >= 0, at.clamp(min=0).reshape(-1)
        edge, valid = window(clicks, rows, clicks.indptr[rows + 1], self.m2)
        items = _gather(clicks.col, edge).view(*alike.shape, self.m2)
        mask = valid.view(items.shape) & found[:, :, None]
        return _lay_out(items, mask, weight[:, :, None], alike[:, :, None], queries, allowed)


@dataclass(frozen=True)
class I2I:
    """The neighbours of each of the user's latest ``m`` clicks, the latest click first.

    Attributes:
        table: the neighbours of every item.
        decay: a similarity counts so many times less for each click made since.
    """

    table: NeighborTable
    m: int
    decay: float = 1.0

    def clicked(self, queries: Queries) -> Tensor:
        """The latest clicks, the latest first: int64 [B, m], -1 where there is none or an unknown one."""
        back = queries.mask.sum(1, keepdim=True) - 1 - torch.arange(self.m, device=queries.items.device)
        return torch.where(back >= 0, _gather_row(queries.items, back.clamp(min=0)), -1)

    def fading(self) -> Tensor:
        """What the similarities of the latest, the second latest ... click are multiplied by: float32 [m]."""
        return self.decay ** torch.arange(self.m, device=self.table.col.device)

    def find(self, queries: Queries, allowed: Allowed | None = None) -> Candidates:
        """See :meth:`Channel.find`; an unknown item has no neighbours."""
        clicked = self.clicked(queries)
        known, rows = clicked >= 0, clicked.clamp(min=0)
        items = self.table.col[rows].long()
        mask = known[:, :, None] & (items >= 0)
        weight = self.table.score[rows].float() * self.fading()[None, :, None]
        return _lay_out(items, mask, weight, clicked[:, :, None], queries, allowed)


def pair_scores(queries: Tensor, vectors: Tensor, items: Tensor, metric: Metric) -> Tensor:
    """Scores of each query with its own list of items.

    Args:
        queries: float [B, d] or [B, K, d], of which the best counts.
        vectors: float [N, d].
        items: int64 [B, C].
        metric: ``"ip"`` or ``"cosine"``.

    Returns:
        float32 [B, C].
    """
    distinct, place = torch.unique(items, return_inverse=True)
    queries, vectors = queries.float(), vectors[distinct].float()
    if metric == "cosine":
        queries, vectors = normalize(queries, dim=-1), normalize(vectors, dim=-1)
    scores = queries @ vectors.T
    return (scores.amax(1) if scores.dim() == 3 else scores).gather(1, place)


def _lay_out(
    items: Tensor, mask: Tensor, weight: Tensor, trigger: Tensor, queries: Queries, allowed: Allowed | None
) -> Candidates:
    """Items [B, M, K] side by side, without those that the user must not get; the rest broadcasts to their shape."""
    items, mask, weight, trigger = (x.expand_as(items).flatten(1) for x in (items, mask, weight, trigger))
    return permitted(Candidates(items, mask, weight, trigger), queries, allowed)


def permitted(found: Candidates, queries: Queries, allowed: Allowed | None) -> Candidates:
    """The same without items that a user must not get."""
    items, mask = found.items, found.mask
    if allowed is not None:
        mask = mask & allowed.mask[items.clamp(min=0)]
    if queries.exclude is not None:
        mask = mask & ~queries.exclude.contains(items)
    if queries.only is not None:
        mask = mask & queries.only.contains(items)
    return Candidates(torch.where(mask, items, 0), mask, found.weight, found.trigger)


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """``values[index]`` as int64; zeros where there are no values at all."""
    return values[index].long() if values.numel() else torch.zeros_like(index)


def _gather_row(values: Tensor, index: Tensor) -> Tensor:
    """``values.gather(1, index)``; -1 where the rows are empty."""
    return values.gather(1, index) if values.shape[1] else torch.full_like(index, -1)
