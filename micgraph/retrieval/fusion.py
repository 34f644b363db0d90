"""One list out of three channels: MIC's Eqs. 3-5, a fitted model, ranks or quotas, and the reason for each item."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from micgraph.knn import IndexConfig, IndexKind, VectorIndex
from micgraph.retrieval.channels import CHANNELS, ChannelName, pair_scores
from micgraph.retrieval.extra import known
from micgraph.retrieval.learned import FEATURES, LearnedFusion, features
from micgraph.retrieval.pool import Pool, Trigger, cut, places
from micgraph.retrieval.selection import select, take_turns
from micgraph.schema import ConfigError, check_range

BY_PLACE = ("rrf", "quotas")
"""Fusions that read the places in the channels' lists; Eq. 4 has no part in them."""


@dataclass(frozen=True)
class FusionConfig:
    """How many candidates each channel gives and how they become one list. The defaults are MIC's (2.2, 2.9).

    Attributes:
        channels: which of ``u2i``, ``u2u``, ``i2i`` and those that users registered give candidates where a call does
            not say it.
        fusion: ``"mic"``, Eq. 5; ``"learned"``, a logistic model fitted on validation data; ``"rrf"``, reciprocal
            ranks; or ``"quotas"``, the best of each channel in turn.
        learn_from: what the logistic model reads, some of :data:`micgraph.retrieval.learned.FEATURES`; None is all.
        basic: Score_Basic of Eq. 5: the ``"cosine"`` of user and item, or the ``"score"`` that U2I ranks by.
        count_scale: s of Eq. 3 is the count as printed (``"linear"``), or its logarithm (``"log"``: each item gets
            its share of all occurrences; as printed, one item often gets all).
        lambda_mic: weight of Eq. 3 in Eq. 5.
        lambda_div: weight of Eq. 4 in Eq. 5; also with ``"learned"``.
        quotas: with ``"quotas"``, how many places of a list each channel gets: of a shorter or longer list the same
            shares. A channel without one, and whoever has places beyond his own, fills what the others cannot. None
            gives all the same.
        rrf_constant: with ``"rrf"``, c of the sum over channels of 1 / (c + place in the channel's list).
        k1: items that U2I gives (more where a longer list is asked for).
        m1: similar users that U2U asks.
        m2: latest clicks of each of them.
        m: latest clicks of the user whose neighbours I2I takes.
        m3: neighbours of each of them.
        k2: items that U2U keeps; None keeps all, at most m1 * m2.
        k3: items that I2I keeps; None keeps all, at most m * m3.
        neighbors: what I2I's neighbours are: ``"near"`` in the space of item vectors, the graph's edges
            ``"co_occurs"`` or ``"similar"``, or what a linear model says: is clicked next (``"follows"``, see
            :mod:`micgraph.retrieval.linear`; up to 20,000 items), or is clicked too (``"ease"``, see
            :mod:`micgraph.retrieval.autoencoder`; up to 20,000 items or users).
        follow_window: how many clicks the linear model reads and foretells.
        decay: what I2I's similarities are multiplied by for each click that the user made since, also in the model.
        index: what searches items and similar users. Exact: ``"torch"`` on the model's device, ``"faiss_flat"`` on the
            CPU, ``"faiss_gpu"``; FAISS keeps any of equally near ones at the last place. Approximate, on the CPU:
            ``"faiss_ivf"``, ``"faiss_hnsw"``, ``"faiss_int8"`` and ``"faiss_pq"``, see docs/serving.md. All but the
            first need the package faiss.
        item_index: settings of the items' index, where it is approximate (the section ``fusion.item_index``).
        user_index: the same of the users' index.

    Raises:
        ConfigError: a value out of range.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    channels: tuple[ChannelName, ...] = CHANNELS
    fusion: Literal["mic", "learned", "rrf", "quotas"] = "mic"
    learn_from: tuple[str, ...] | None = None
    basic: Literal["cosine", "score"] = "cosine"
    count_scale: Literal["linear", "log"] = "linear"
    lambda_mic: float = 0.5
    lambda_div: float = 0.2
    quotas: Mapping[ChannelName, int] | None = None
    rrf_constant: float = 60.0
    k1: int = 200
    m1: int = 40
    m2: int = 60
    m: int = 30
    m3: int = 50
    k2: int | None = None
    k3: int | None = None
    neighbors: Literal["near", "co_occurs", "similar", "follows", "ease"] = "near"
    follow_window: int = 20
    decay: float = 1.0
    index: IndexKind = "torch"
    item_index: IndexConfig = IndexConfig()
    user_index: IndexConfig = IndexConfig()

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str, ...]] = {
            "fusion": ("mic", "learned", "rrf", "quotas"),
            "basic": ("cosine", "score"),
            "count_scale": ("linear", "log"),
            "neighbors": ("near", "co_occurs", "similar", "follows", "ease"),
            "index": get_args(IndexKind),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(name, " or ".join(allowed), repr(getattr(self, name)), "pass one of them")
        if self.learn_from is not None and not 0 < len(self.learn_from) == len(set(self.learn_from) & set(FEATURES)):
            remedy = "name some of them, each once, or leave it out"
            raise ConfigError("learn_from", f"some of {list(FEATURES)}", f"{list(self.learn_from)}", remedy)
        if self.quotas is not None and not _are_quotas(self.quotas):
            got, remedy = repr(dict(self.quotas)), "write them like {'u2i': 100, 'u2u': 60, 'i2i': 40}"
            raise ConfigError("quotas", f"whole numbers from 0, one above 0, for {list(known())}", got, remedy)
        check_range(vars(self), "rrf_constant", at_least=0)
        check_range(vars(self), "lambda_mic lambda_div", "leave it out, or pass 0 for a term that shall not count")
        check_range(vars(self), "follow_window", at_least=1)
        check_range(vars(self), "decay", above=0, at_most=1)
        check_range(vars(self), "k1 m1 m2 m m3 k2 k3", "leave a channel out by channels=[...] instead", at_least=1)
        if not self.channels or not set(self.channels) <= set(known()):
            remedy = "name one or more of them, or register your own first"
            raise ConfigError("channels", f"some of {list(known())}", repr(self.channels), remedy)
        if self.fusion == "learned":
            refuse_own(self.channels)


@dataclass(frozen=True)
class Fused:
    """The chosen items of B users, best first; -1 in ``items`` where the candidates did not suffice.

    Attributes:
        items: int64 [B, k].
        score: float32 [B, k]: Eq. 5 (or the learned log-odds in place of its first two terms), the sum of reciprocal
            ranks, or with quotas 1 / rank.
        basic: float32 [B, k], the score that U2I ranks by, whichever channel brought the item.
        count: int64 [B, 3, k], how often each channel brought the item, before any cut.
        weight: float32 [B, 3, k], the sum of the similarities of what brought it in each channel, before any cut.
        held: bool [B, 3, k], which channels brought it and kept it.
        trigger: [B, k] each, see :class:`Trigger`.
        base: float32 [B, k], what ``score`` begins with: Score_Basic, the log-odds, the sum of reciprocal ranks.
        share: float32 [B, k], Eq. 3; 0 where the fusion does not use it.
        place: int64 [B, 3, k], the item's place in each channel's list from 0; -1 where it is not in it, and for U2U
            and I2I also where the fusion does not use it.
        found: int64 [B, 3], how many occurrences each channel gave.
        names: of the channels, in the order in which they lie above: with channels of a user's own more than 3.
    """

    items: Tensor
    score: Tensor
    basic: Tensor
    count: Tensor
    weight: Tensor
    held: Tensor
    trigger: Trigger
    base: Tensor
    share: Tensor
    place: Tensor
    found: Tensor
    names: tuple[ChannelName, ...] = CHANNELS


@dataclass(frozen=True)
class Lists:
    """The lists of B users, best first; the items that channels did not bring are popular ones.

    Attributes:
        fused: [B, k], see :class:`Fused`; its ``items`` are -1 where the channels did not suffice.
        items: int64 [B, k], the final list: popular items behind the fused ones, -1 only where nothing is left.
        degraded: bool [B], a channel had nothing to give, popular items had to fill up, or live clicks could not be
            read.
    """

    fused: Fused
    items: Tensor
    degraded: Tensor


def fuse(
    pool: Pool,
    search: Tensor,
    index: VectorIndex,
    category: Tensor,
    k: int,
    config: FusionConfig,
    learned: LearnedFusion | None = None,
    names: tuple[ChannelName, ...] = CHANNELS,
) -> Fused:
    """MIC's Eqs. 3-5 on the candidates of B users.

    Args:
        search: float [B, d] or [B, K, d], the users' search vectors.
        index: the items' search vectors.
        category: int64 [N].
        k: length of the lists.
        learned: the model, where ``config.fusion`` is ``"learned"``.
        names: of the channels, in the order in which the pool has them.

    Raises:
        ConfigError: ``"learned"`` without a model.
    """
    basic, cosine = pool_scores(pool, search, index)
    held = cut(pool, cosine, config.k2, config.k3)
    mask, share = held.any(1), torch.zeros_like(basic)
    place = places(pool, cosine, held, config.fusion in BY_PLACE)
    if config.fusion == "learned":
        base = fitted(learned).score(features(pool, held, basic))
    elif config.fusion == "mic":
        base = cosine if config.basic == "cosine" else basic
        share = count_score(pool.count.sum(1), mask, config.count_scale)
    else:
        base = torch.where(place >= 0, 1 / (config.rrf_constant + 1 + place), 0.0).sum(1)
    if config.fusion == "quotas":
        at, score = take_turns(place, turns(config.quotas, names), k)
    else:
        total = base + config.lambda_mic * share
        diverse = 0.0 if config.fusion in BY_PLACE else config.lambda_div
        at, score = select(total, mask, category[pool.items], k, diverse)
    return replace(_chosen(pool, at, score, held, (basic, base, share), place), names=names)


def refuse_own(channels: Collection[ChannelName]) -> None:
    """Refuse channels of a user's own where the learned fusion reads them.

    Raises:
        ConfigError: names them.
    """
    own = [name for name in channels if name not in CHANNELS]
    if own:
        remedy = "take fusion=mic, rrf or quotas, or leave them out"
        raise ConfigError("channels", f"some of {list(CHANNELS)} with the learned fusion", f"{own}", remedy)


def fitted(learned: LearnedFusion | None) -> LearnedFusion:
    """The model of the learned fusion.

    Raises:
        ConfigError: there is none.
    """
    if learned is None:
        raise ConfigError("fusion", "a fitted model", "none", "call fit_fusion with validation data, or use 'mic'")
    return learned


def turns(quotas: Mapping[ChannelName, int] | None, names: tuple[ChannelName, ...] = CHANNELS) -> list[float]:
    """The quota of each channel, in the order of ``names``."""
    return [1.0] * len(names) if quotas is None else [float(quotas.get(name, 0)) for name in names]


def _are_quotas(quotas: Mapping[ChannelName, int]) -> bool:
    whole = all(isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in quotas.values())
    return whole and set(quotas) <= set(known()) and sum(quotas.values()) > 0


def _chosen(
    pool: Pool, at: Tensor, score: Tensor, held: Tensor, values: tuple[Tensor, Tensor, Tensor], place: Tensor
) -> Fused:
    """What the pool says of the candidates at ``at`` int64 [B, k], -1 where there is none.

    Args:
        values: basic, base and share, float [B, P] each.
    """
    there, at = at >= 0, at.clamp(min=0)
    wide = at[:, None].expand(-1, place.shape[1], -1)
    trigger = Trigger(*(x.gather(1, at) for x in pool.trigger))
    items = torch.where(there, pool.items.gather(1, at), -1)
    basic, base, share = (x.gather(1, at) for x in values)
    count, weight, held, place = (x.gather(2, wide) for x in (pool.count, pool.weight, held, place))
    return Fused(items, score, basic, count, weight, held, trigger, base, share, place, pool.count.sum(2))


def pool_scores(pool: Pool, search: Tensor, index: VectorIndex) -> tuple[Tensor, Tensor]:
    """Of each candidate, float32 [B, P] each: the score that U2I ranks by, and the cosine in the same space."""
    basic = pair_scores(search, index.vectors, pool.items, index.metric)
    if index.metric == "cosine":
        return basic, basic
    return basic, pair_scores(search, index.vectors, pool.items, "cosine")


def count_score(count: Tensor, mask: Tensor, scale: str) -> Tensor:
    """Score_MIC of Eq. 3: the softmax of the counts over a user's candidates.

    Args:
        count: int64 [B, P], s_i.
        mask: bool [B, P].
        scale: ``"linear"`` or ``"log"``.

    Returns:
        float32 [B, P], 0 outside the mask.
    """
    s = count.float() if scale == "linear" else count.float().clamp(min=1).log()
    s = s.masked_fill(~mask, -torch.inf)
    return torch.nan_to_num(torch.softmax(s, dim=1))  # nan: a row without any candidate
