"""The distinct candidates of each user, with what every channel says of them and the reason for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from micgraph.retrieval.channels import CHANNELS, Candidates, ChannelName
from micgraph.retrieval.extra import laid_out

LAST = torch.finfo(torch.float32).min
"""Below every similarity."""


class Trigger(NamedTuple):
    """What brought an item: of all similar users and history items, the one with the largest similarity.

    Attributes:
        channel: int64 [B, P], place in the order of channels; 0 (u2i) means that nothing else brought the item.
        node: int64 [B, P], the user (u2u) or the item (i2i, and channels of a user's own); -1 with u2i.
        similarity: float32 [B, P]; 0 with u2i.
    """

    channel: Tensor
    node: Tensor
    similarity: Tensor


@dataclass(frozen=True)
class Pool:
    """The distinct candidates of B users, in ascending order of item: V_C of MIC 2.2.

    Attributes:
        items: int64 [B, P].
        mask: bool [B, P], valid ones first.
        count: int64 [B, n, P], how often each channel (in the order of :func:`laid_out`, n = 3 but for channels of a
            user's own) brought the item.
        weight: float32 [B, n, P], the sum of the similarities of what brought it (U2I: the search's score).
        rank: int64 [B, P], place in U2I's list from 0, or -1.
        trigger: the best reason.
    """

    items: Tensor
    mask: Tensor
    count: Tensor
    weight: Tensor
    rank: Tensor
    trigger: Trigger


def merge(found: dict[ChannelName, Candidates]) -> Pool:
    """Put the channels' candidates together: each item once a user, with its counts and its best trigger."""
    names = laid_out(found)
    parts = [(number, found[name]) for number, name in enumerate(names) if name in found]
    items, mask, weight, trigger = (
        torch.cat([getattr(part, field) for _, part in parts], dim=1)
        for field in ("items", "mask", "weight", "trigger")
    )
    channel = torch.cat([torch.full_like(part.items, number) for number, part in parts], dim=1)
    beyond = torch.iinfo(torch.int64).max
    key, order = torch.sort(torch.where(mask, items, beyond), dim=1, stable=True)
    mask, weight, trigger, channel = (x.gather(1, order) for x in (mask, weight, trigger, channel))
    fresh = mask.clone()
    fresh[:, 1:] &= key[:, 1:] != key[:, :-1]
    size = max(1, int(fresh.sum(1).max()) if len(fresh) else 1)
    group = torch.where(mask, fresh.cumsum(1) - 1, size)  # padding falls into one group beyond the last
    return _pool(torch.where(mask, key, 0), mask, weight, trigger, channel, order, group, (len(names), size))


def _pool(
    items: Tensor,
    mask: Tensor,
    weight: Tensor,
    trigger: Tensor,
    channel: Tensor,
    order: Tensor,
    group: Tensor,
    sizes: tuple[int, int],
) -> Pool:
    """Reduce sorted occurrences [B, C] to groups: ``group`` int64 [B, C] in 0..size, the last one being padding.
    ``sizes`` are the number of channels, and size."""
    batch, device, (n, size) = len(items), items.device, sizes
    cell = torch.where(mask, channel * (size + 1) + group, size)
    count = torch.zeros(batch, n * (size + 1), dtype=torch.int64, device=device).scatter_add(1, cell, mask.long())
    total = torch.zeros(batch, n * (size + 1), device=device).scatter_add(1, cell, weight * mask)
    count, total = (x.view(batch, n, size + 1)[:, :, :size] for x in (count, total))
    distinct = torch.zeros(batch, size + 1, dtype=torch.int64, device=device).scatter(1, group, items)[:, :size]
    rank = torch.full((batch, size + 1), -1, device=device)
    rank = rank.scatter_reduce(1, torch.where(channel == 0, group, size), order, "amax")[:, :size]  # U2I lies first
    return Pool(distinct, count.sum(1) > 0, count, total, rank, _best(weight, trigger, channel, group, size))


def _best(weight: Tensor, trigger: Tensor, channel: Tensor, group: Tensor, size: int) -> Trigger:
    """The trigger of the largest similarity in each group; of equal ones the first in the order of channels. Weights of
    a user's own channels are no similarities: they are read where nothing else has brought the item."""
    batch, places = weight.shape
    similarity = torch.where(channel > 0, weight, -torch.inf)
    similarity = torch.where(channel >= len(CHANNELS), LAST, similarity)
    best = torch.full((batch, size + 1), -torch.inf, device=weight.device)
    best = best.scatter_reduce(1, group, similarity, "amax")
    wins = (similarity == best.gather(1, group)) & (channel > 0)
    place = torch.arange(places, device=weight.device).expand_as(group)
    first = torch.full((batch, size + 1), places, device=weight.device)
    first = first.scatter_reduce(1, group, torch.where(wins, place, places), "amin")[:, :size]
    none, first = first == places, first.clamp(max=places - 1)
    return Trigger(
        channel.gather(1, first).masked_fill(none, 0),
        trigger.gather(1, first).masked_fill(none, -1),
        weight.gather(1, first).masked_fill(none, 0.0),
    )


def cut(pool: Pool, cosine: Tensor, k2: int | None, k3: int | None) -> Tensor:
    """Which channel still holds which item after U2U kept its best ``k2`` and I2I its best ``k3`` (MIC 2.8).

    The order is by (sum of similarities of what brought the item) x (cosine of user and item), ties by smaller item.

    Args:
        cosine: float [B, P].

    Returns:
        bool [B, n, P].
    """
    held = pool.count > 0
    for channel, k in ((1, k2), (2, k3)):
        if k is not None and k < held.shape[2]:
            value = torch.where(held[:, channel], pool.weight[:, channel] * cosine, -torch.inf)
            order = torch.sort(value, dim=1, descending=True, stable=True).indices[:, :k]
            kept = torch.zeros_like(held[:, channel]).scatter(1, order, True)
            held[:, channel] &= kept
    return held


def places(pool: Pool, cosine: Tensor, held: Tensor, every: bool) -> Tensor:
    """Where each item stands in each channel's list, from 0: U2I's by score, U2U and I2I in the order of :func:`cut`,
    channels of a user's own by the sum of their weights.

    Args:
        cosine: float [B, P].
        held: bool [B, n, P], from :func:`cut`.
        every: also of all but U2I, which takes a sort.

    Returns:
        int64 [B, n, P], -1 where a channel does not hold the item.
    """
    place = torch.full_like(pool.count, -1)
    place[:, 0] = pool.rank
    for channel in range(1, place.shape[1]) if every else ():
        near = cosine if channel < len(CHANNELS) else 1.0
        value = torch.where(held[:, channel], pool.weight[:, channel] * near, -torch.inf)
        order = torch.sort(value, dim=1, descending=True, stable=True).indices
        place[:, channel] = torch.argsort(order, dim=1).masked_fill(~held[:, channel], -1)
    return place
