"""What a task needs from a batch, and what a batch holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from micgraph.graph.context import ItemContext
from micgraph.sampling.negatives import NegativeKind


@dataclass(frozen=True)
class Requires:
    """What one task asks of every batch; the plan holds the union of what its tasks ask, and nothing else.

    Attributes:
        full: every item of the catalogue is encoded (a softmax over all of it).
        negatives: (kind, count) of items drawn from those that somebody has clicked; tasks that ask for the same
            share one draw.
        target_mask: which negatives each user has clicked: of those drawn, of the batch's targets, or of all its items.
        window: how many clicks from the target on are wanted.
        positives: the item-item relation of which one edge is drawn for every item anchor.
        block: which of the negatives are masked for an item anchor: the drawn positive alone, or every neighbour
            that the relation knows.
        item_anchors: the batch's distinct target items, as anchors of item-item tasks.
        query_view: a perturbed view of each anchor query.
        item_view: a perturbed view of each item anchor.
        other_stretch: clicks of each sample's user that it neither reads nor predicts.
    """

    full: bool = False
    negatives: tuple[NegativeKind, int] | None = None
    target_mask: Literal["none", "negatives", "batch", "items"] = "none"
    window: int = 1
    positives: str | None = None
    block: Literal["drawn", "neighbours"] = "drawn"
    item_anchors: bool = False
    query_view: bool = False
    item_view: bool = False
    other_stretch: bool = False


@dataclass(frozen=True)
class SharedNegatives:
    """S items drawn for the whole batch. ``item`` int64 [S] local, ``log_q`` float32 [S] log probabilities."""

    item: Tensor
    log_q: Tensor


@dataclass(frozen=True)
class DrawnPositives:
    """One positive for each of the I item anchors.

    Attributes:
        item: int64 [I] local; 0 where the anchor has no neighbour.
        valid: bool [I].
        blocked: bool [I, S], negatives that must not count as such.
    """

    item: Tensor
    valid: Tensor
    blocked: Tensor


@dataclass(frozen=True)
class Batch:
    """B queries, their P (query, target) pairs and whatever the tasks asked for. Items are *local*: positions in
    ``items``, each of which is encoded once; -1 stands for an item that nobody knows.

    Attributes:
        key: key of this step's random numbers.
        sample: int64 [B], the samples' numbers: random choices depend on them and not on the batch's composition.
        user: int64 [B], users (not local).
        history: int64 [B, T], local items, oldest first; -1 where ``mask`` is False.
        mask: bool [B, T].
        gap: int64 [B, T], seconds between each click of the history and the user's click before it; -1 where it is
            unknown or hidden; None where the encoder reads none.
        pair_row: int64 [P], which query a pair belongs to.
        pair_at: int64 [P], the position in the history after which the target came, or None where every query is one
            pair and is read whole.
        target: int64 [P], local items.
        anchor: int64 [A], one or some pairs of every query that has any: what the user-item and user-user tasks
            contrast.
        items: int64 [U], distinct items (not local).
        log_popularity: float32 [U], log share of clicks, -inf where there are none.
        can_be_negative: bool [U], ``items`` that somebody has clicked, where all items are encoded; None: every one.
        negatives: by (kind, count).
        positives: by relation.
        clicked: bool [B, S] by (kind, count), negatives that the user has clicked.
        target_clicked: bool [B, D], ``distinct_target`` items that the user has clicked.
        item_clicked: bool [B, U], items that the user has clicked.
        window: int64 [P, W], local items: each pair's target and the user's clicks after it in their order, whatever
            their seconds; -1 where there are no more.
        distinct_target: int64 [D], local, the batch's distinct targets.
        target_place: int64 [P], where each pair's target is in ``distinct_target``.
        item_anchor: int64 [I], local, item anchors.
        other: int64 [B, T], local items of another stretch of the user's clicks, as ``history``; and ``other_mask`` and
            ``other_gap``, as ``mask`` and ``gap``.
        context: what the graph says about ``items``, where the item tower reads it.
        anchor_context: the same for the item anchors alone, where tasks encode them once more.
    """

    key: int
    sample: Tensor
    user: Tensor
    history: Tensor
    mask: Tensor
    gap: Tensor | None
    pair_row: Tensor
    pair_at: Tensor | None
    target: Tensor
    anchor: Tensor
    items: Tensor
    log_popularity: Tensor
    distinct_target: Tensor
    target_place: Tensor
    item_anchor: Tensor
    can_be_negative: Tensor | None = None
    negatives: dict[tuple[NegativeKind, int], SharedNegatives] = field(default_factory=dict)
    positives: dict[str, DrawnPositives] = field(default_factory=dict)
    clicked: dict[tuple[NegativeKind, int], Tensor] = field(default_factory=dict)
    target_clicked: Tensor | None = None
    item_clicked: Tensor | None = None
    window: Tensor | None = None
    other: Tensor | None = None
    other_mask: Tensor | None = None
    other_gap: Tensor | None = None
    context: ItemContext | None = None
    anchor_context: ItemContext | None = None

    def __len__(self) -> int:
        return len(self.user)
