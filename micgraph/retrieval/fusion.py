"""One list out of three channels: counts, MIC's Eqs. 3-5, and the reason for each item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from micgraph.knn import IndexConfig, IndexKind, VectorIndex
from micgraph.retrieval.channels import CHANNELS, ChannelName, pair_scores
from micgraph.retrieval.learned import FEATURES, LearnedFusion, features
from micgraph.retrieval.pool import Pool, Trigger, cut
from micgraph.schema import ConfigError, check_range


@dataclass(frozen=True)
class FusionConfig:
    """How many candidates each channel gives and how they become one list. The defaults are MIC's (2.2, 2.9).

    Attributes:
        channels: which of ``u2i``, ``u2u`` and ``i2i`` give candidates where a call does not say it.
        fusion: ``"mic"``, Eq. 5; or ``"learned"``, a logistic model fitted on validation data.
        learn_from: what the logistic model reads, some of :data:`micgraph.retrieval.learned.FEATURES`; None is all.
        basic: Score_Basic of Eq. 5: the ``"cosine"`` of user and item, or the ``"score"`` that U2I ranks by.
        count_scale: s of Eq. 3 is the count as printed (``"linear"``), or its logarithm (``"log"``: each item gets
            its share of all occurrences; as printed, one item often gets all).
        lambda_mic: weight of Eq. 3 in Eq. 5.
        lambda_div: weight of Eq. 4 in Eq. 5.
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
    fusion: Literal["mic", "learned"] = "mic"
    learn_from: tuple[str, ...] | None = None
    basic: Literal["cosine", "score"] = "cosine"
    count_scale: Literal["linear", "log"] = "linear"
    lambda_mic: float = 0.5
    lambda_div: float = 0.2
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
            "fusion": ("mic", "learned"),
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
        check_range(vars(self), "follow_window", at_least=1)
        check_range(vars(self), "decay", above=0, at_most=1)
        check_range(vars(self), "k1 m1 m2 m m3 k2 k3", "leave a channel out by channels=[...] instead", at_least=1)
        if not self.channels or not set(self.channels) <= set(CHANNELS):
            raise ConfigError("channels", f"some of {list(CHANNELS)}", repr(self.channels), "name one or more of them")


@dataclass(frozen=True)
class Fused:
    """The chosen items of B users, best first; -1 in ``items`` where the candidates did not suffice.

    Attributes:
        items: int64 [B, k].
        score: float32 [B, k], Eq. 5 (or the learned log-odds in place of its first two terms).
        basic: float32 [B, k], the score that U2I ranks by, whichever channel brought the item.
        count: int64 [B, 3, k], how often each channel brought the item, before any cut.
        weight: float32 [B, 3, k], the sum of the similarities of what brought it in each channel, before any cut.
        held: bool [B, 3, k], which channels brought it and kept it.
        trigger: [B, k] each, see :class:`Trigger`.
    """

    items: Tensor
    score: Tensor
    basic: Tensor
    count: Tensor
    weight: Tensor
    held: Tensor
    trigger: Trigger


def fuse(
    pool: Pool,
    search: Tensor,
    index: VectorIndex,
    category: Tensor,
    k: int,
    config: FusionConfig,
    learned: LearnedFusion | None = None,
) -> Fused:
    """MIC's Eqs. 3-5 on the candidates of B users.

    Args:
        search: float [B, d] or [B, K, d], the users' search vectors.
        index: the items' search vectors.
        category: int64 [N].
        k: length of the lists.
        learned: the model, where ``config.fusion`` is ``"learned"``.

    Raises:
        ConfigError: ``"learned"`` without a model.
    """
    basic, cosine = pool_scores(pool, search, index)
    held = cut(pool, cosine, config.k2, config.k3)
    mask = held.any(1)
    if config.fusion == "learned":
        if learned is None:
            raise ConfigError("fusion", "a fitted model", "none", "call fit_fusion with validation data, or use 'mic'")
        score = learned.score(features(pool, held, basic))
    else:
        score = cosine if config.basic == "cosine" else basic
        score = score + config.lambda_mic * count_score(pool.count.sum(1), mask, config.count_scale)
    place, score = select(score, mask, category[pool.items], k, config.lambda_div)
    return _chosen(pool, place, score, basic, held)


def _chosen(pool: Pool, place: Tensor, score: Tensor, basic: Tensor, held: Tensor) -> Fused:
    """What the pool says of the candidates at ``place`` int64 [B, k], -1 where there is none."""
    at = place.clamp(min=0)
    wide = at[:, None].expand(-1, 3, -1)
    trigger = Trigger(*(x.gather(1, at) for x in pool.trigger))
    items = torch.where(place >= 0, pool.items.gather(1, at), -1)
    count, weight, held = (x.gather(2, wide) for x in (pool.count, pool.weight, held))
    return Fused(items, score, basic.gather(1, at), count, weight, held, trigger)


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


def select(score: Tensor, mask: Tensor, category: Tensor, k: int, lambda_div: float) -> tuple[Tensor, Tensor]:
    """Choose ``k`` candidates one after another by Eq. 5, Eq. 4 being the share of those already chosen whose
    category differs (0 for the first one). Equal scores go to the earlier place.

    Only the best candidate left of each category can be chosen next, so a step costs O(categories).

    Args:
        score: float [B, P], Score_Basic + lambda_mic * Score_MIC.
        mask: bool [B, P].
        category: int64 [B, P].
        k: length of the list.
        lambda_div: weight of Eq. 4.

    Returns:
        place int64 [B, k] in the candidates, best first, -1 where there are no more; and Eq. 5's score [B, k], -inf
        there.
    """
    score = score.masked_fill(~mask, -torch.inf)
    order = torch.sort(score, dim=1, descending=True, stable=True).indices
    if lambda_div == 0:
        return _fit(order, score.gather(1, order), k)
    return _fit(*_greedy(score, order, category, min(k, score.shape[1]), lambda_div), k)


def _greedy(score: Tensor, order: Tensor, category: Tensor, k: int, lambda_div: float) -> tuple[Tensor, Tensor]:
    """The ``k`` steps of :func:`select`: places and scores [B, k].

    Args:
        score: float [B, P], -inf where there is no candidate.
        order: int64 [B, P], places by descending score.
    """
    order = order.gather(1, torch.sort(category.gather(1, order), dim=1, stable=True).indices)
    code = category.gather(1, order)
    queue = torch.nn.functional.pad(score.gather(1, order), (0, 1), value=-torch.inf)  # one more: past the last queue
    order = torch.nn.functional.pad(order, (0, 1))
    head, end = _groups(code)
    chosen = torch.zeros_like(head)
    places, values = [], []
    for step in range(k):
        front = queue.gather(1, head).masked_fill(head >= end, -torch.inf)
        total = front + lambda_div * (step - chosen) / max(step, 1)
        best = total.amax(1, keepdim=True)
        place = torch.where(total == best, order.gather(1, head), score.shape[1])
        winner = place.argmin(1, keepdim=True)
        places.append(place.gather(1, winner))
        values.append(best)
        one = torch.ones_like(winner)
        head = head.scatter_add(1, winner, one).clamp(max=score.shape[1])
        chosen = chosen.scatter_add(1, winner, one)
    empty = score.new_zeros(len(score), 0)
    return torch.cat([empty.long(), *places], 1), torch.cat([empty, *values], 1)


def _groups(code: Tensor) -> tuple[Tensor, Tensor]:
    """Start and end int64 [B, G] of each run of equal codes in the rows of ``code`` [B, P]; empty runs for padding."""
    batch, places = code.shape
    fresh = torch.ones_like(code, dtype=torch.bool)
    fresh[:, 1:] = code[:, 1:] != code[:, :-1]
    group = fresh.cumsum(1) - 1
    size = int(group.max()) + 1 if group.numel() else 1
    length = torch.zeros(batch, size, dtype=torch.int64, device=code.device)
    length = length.scatter_add(1, group, torch.ones_like(group))
    end = length.cumsum(1)
    return end - length, end


def _fit(place: Tensor, value: Tensor, k: int) -> tuple[Tensor, Tensor]:
    room = (0, max(0, k - place.shape[1]))
    place = torch.nn.functional.pad(place[:, :k], room, value=-1)
    value = torch.nn.functional.pad(value[:, :k], room, value=-torch.inf)
    return torch.where(value > -torch.inf, place, -1), value
