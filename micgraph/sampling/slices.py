"""Consecutive queries of a batch with everything that is theirs, for whoever encodes a batch piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from micgraph.sampling.plan import Batch


@dataclass(frozen=True)
class Slice:
    """Some consecutive queries of a batch.

    Attributes:
        rows: which of the B queries.
        pairs: their pairs, of P.
        anchors: their anchors, of A.
    """

    rows: slice
    pairs: slice
    anchors: slice

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many queries, pairs and anchors."""
        rows, pairs, anchors = (one.stop - one.start for one in (self.rows, self.pairs, self.anchors))
        return rows, pairs, anchors


def shares(n: int, parts: int) -> list[slice]:
    """The range 0..n cut into so many consecutive slices, whose sizes differ by one at most; some are empty where
    ``n < parts``."""
    bounds = [n * part // parts for part in range(parts + 1)]
    return [slice(*both) for both in zip(bounds[:-1], bounds[1:], strict=True)]


def at_a_time(rows: slice, size: int) -> list[slice]:
    """A slice cut into consecutive ones of ``size`` rows, the last of what is left; 0: as it is."""
    if not size:
        return [rows]
    return [slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]


def slices(batch: Batch, rows: Sequence[slice]) -> list[Slice]:
    """What belongs to consecutive slices of the queries, which are in ascending order without gaps.

    Where a query has any number of pairs, the host waits for the batch: how many there are is on the device.
    """
    bounds = [rows[0].start, *(one.stop for one in rows)]
    if batch.pair_at is None:  # every query is one pair, and its anchor
        return [Slice(one, one, one) for one in rows]
    edges = torch.tensor(bounds, device=batch.pair_row.device)
    anchor_row = batch.pair_row[batch.anchor]
    pairs, anchors = torch.stack([torch.searchsorted(row, edges) for row in (batch.pair_row, anchor_row)]).tolist()
    return [
        Slice(one, slice(*pairs[place : place + 2]), slice(*anchors[place : place + 2]))
        for place, one in enumerate(rows)
    ]


def part(batch: Batch, piece: Slice) -> Batch:
    """The batch of a slice's queries alone. What the whole batch shares stays whole: the items, the negatives, the
    distinct targets and the item anchors."""
    rows, pairs, anchors = piece.rows, piece.pairs, piece.anchors
    of_others = ("other", "other_mask", "other_gap")
    per_row = ("sample", "user", "history", "mask", "gap", "target_clicked", "item_clicked", *of_others)
    per_pair = ("pair_at", "target", "target_place", "window")
    cut = dict.fromkeys(per_row, rows) | dict.fromkeys(per_pair, pairs)
    values: dict[str, Any] = {name: getattr(batch, name) for name in cut}
    found: dict[str, Any] = {name: None if value is None else value[cut[name]] for name, value in values.items()}
    return replace(
        batch,
        **found,
        pair_row=batch.pair_row[pairs] - rows.start,
        anchor=batch.anchor[anchors] - pairs.start,
        clicked={kind: mask[rows] for kind, mask in batch.clicked.items()},
    )
