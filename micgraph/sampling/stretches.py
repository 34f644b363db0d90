"""Another stretch of a user's clicks beside the one that a sample reads: two windows of one person."""

from __future__ import annotations

import torch
from torch import Tensor

from micgraph import rng
from micgraph.graph.relation import Relation
from micgraph.sampling.samples import Cut


def other_stretch(clicks: Relation, cut: Cut, size: int, key: int) -> tuple[Tensor, Tensor]:
    """Clicks of each sample's user that lie wholly before or wholly after what the sample reads and predicts.

    Which side is drawn in proportion to its clicks; the stretch is as long as the side allows, and where it lies there
    is drawn uniformly.

    Args:
        clicks: the relation from users to items.
        cut: B samples.
        size: T, clicks a stretch at most.
        key: of the random choices.

    Returns:
        Where each stretch begins and ends, offsets into the clicks, int64 [B] each; it is empty where a user has no
        other click.
    """
    begin, end = clicks.indptr[cut.row], clicks.indptr[cut.row + 1]
    first, last = _span(cut, begin, end)
    before, after = first - begin, end - last
    sides = rng.integers(key, cut.sample, 1, (before + after).clamp(min=1)[:, None])[:, 0]
    early = sides < before
    start, room = torch.where(early, begin, last), torch.where(early, before, after)
    width = room.clamp(max=size)
    shift = rng.integers(rng.make_key(key, "place"), cut.sample, 1, (room - width + 1)[:, None])[:, 0]
    return start + shift, start + shift + width


def _span(cut: Cut, begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Where the clicks that a sample reads or predicts begin, and the offset after the last of them: int64 [B]."""
    reads = cut.first < cut.stop
    first = torch.where(reads, cut.first, end).scatter_reduce(0, cut.pair_row, cut.target, "amin")
    last = torch.where(reads, cut.stop, begin).scatter_reduce(0, cut.pair_row, cut.target + 1, "amax")
    return first, torch.maximum(last, first)
