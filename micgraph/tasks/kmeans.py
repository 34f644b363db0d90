"""k-means++ on the rows of a matrix, and draws from clusters other than one's own (MIC 2.4.2).

Everything is decided by counter-based random numbers, so that the clusters are the same after a resume.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from micgraph import rng

ITERATIONS = 10
"""Lloyd's steps at most; each epoch's clusters are needed roughly, not to the last row."""

CHUNK = 1 << 24
"""Distances computed at a time."""


def kmeans(x: Tensor, k: int, key: int, iterations: int = ITERATIONS) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from centres that k-means++ has drawn.

    Args:
        x: float [N, d]; N is at least 1.
        k: clusters at most: equal rows share one, and the others stay empty.
        key: of the random choices, see :func:`micgraph.rng.make_key`.
        iterations: at most so many steps.

    Returns:
        Centres float [min(k, N), d] and int64 [N], each row's nearest centre (of equally near ones the first).
    """
    centres = x[_seeds(x, min(k, len(x)), key)]
    label = nearest(x, centres)
    for _ in range(iterations):
        share = F.one_hot(label, len(centres)).to(x.dtype)
        size = share.sum(0)[:, None]
        centres = torch.where(size > 0, share.T @ x / size.clamp(min=1), centres)
        before, label = label, nearest(x, centres)
        if torch.equal(before, label):
            break
    return centres, label


def nearest(x: Tensor, centres: Tensor) -> Tensor:
    """int64 [N], the nearest of ``centres`` [C, d] by Euclidean distance for each row of ``x`` [N, d]."""
    square = (centres * centres).sum(1)
    step = max(1, CHUNK // max(1, len(centres)))
    parts = [(square - 2 * part @ centres.T).argmin(1) for part in x.split(step)]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=x.device)


def _seeds(x: Tensor, k: int, key: int) -> Tensor:
    """k-means++: each next row is drawn in proportion to its squared distance from those chosen before it."""
    lot = rng.uniform(key, torch.arange(k, device=x.device), 1)[:, 0].double()
    chosen = [(lot[0] * len(x)).long().clamp(max=len(x) - 1)]
    away = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
    for i in range(1, k):
        away = torch.minimum(away, (x - x[chosen[-1]]).square().sum(1))
        total = away.double().cumsum(0)
        pick = torch.searchsorted(total, lot[i] * total[-1], right=True)
        chosen.append(pick.clamp(max=len(x) - 1))  # beyond the end: every row has been chosen, one is taken again
    return torch.stack(chosen)


@dataclass(frozen=True)
class Clusters:
    """Rows grouped by cluster, to draw from the other ones.

    Attributes:
        order: int64 [M], rows, cluster after cluster.
        start: int64 [C + 1], where each cluster begins in ``order``.
        near: int64 [C], the other cluster that is nearest and not empty; -1 where there is none.
    """

    order: Tensor
    start: Tensor
    near: Tensor

    @classmethod
    def of(cls, label: Tensor, centres: Tensor) -> Clusters:
        """The clusters of rows with ``label`` int64 [N] (-1: a row in none) around ``centres`` float [C, d]."""
        order = torch.argsort(label, stable=True)[int((label < 0).sum()) :]
        size = torch.bincount(label[order], minlength=len(centres))
        start = F.pad(size.cumsum(0), (1, 0))
        apart = torch.cdist(centres, centres).masked_fill((size == 0)[None, :], torch.inf)
        apart.fill_diagonal_(torch.inf)
        best, near = apart.min(1)
        return cls(order, start, torch.where(torch.isfinite(best), near, -1))

    def others(self, label: Tensor, lot: Tensor, closest: bool) -> Tensor:
        """Draw rows outside of given clusters, each with the same probability.

        Args:
            label: int64 [A], clusters to keep out of.
            lot: int64 [A, H], 32 random bits for each draw.
            closest: only from the nearest other cluster instead of from all of them.

        Returns:
            int64 [A, H], rows; -1 where there is no other cluster.
        """
        if closest:
            near = self.near[label]
            begin, end = self.start[near.clamp(min=0)], self.start[near.clamp(min=0) + 1]
            place = begin[:, None] + _scaled(lot, torch.where(near >= 0, end - begin, 0))
            return self._rows(place, near >= 0)
        begin, end = self.start[label], self.start[label + 1]
        left = len(self.order) - (end - begin)
        place = _scaled(lot, left)
        place = place + torch.where(place >= begin[:, None], (end - begin)[:, None], 0)
        return self._rows(place, left > 0)

    def _rows(self, place: Tensor, exists: Tensor) -> Tensor:
        if not len(self.order):
            return torch.full_like(place, -1)
        rows = self.order[place.clamp(max=len(self.order) - 1)]
        return torch.where(exists[:, None], rows, -1)


def _scaled(lot: Tensor, size: Tensor) -> Tensor:
    """32 random bits [A, H] as a number below ``size`` [A]."""
    return (lot * size[:, None]) >> 32
