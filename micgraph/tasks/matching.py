"""The main objective: which item comes next (MicRec Eq. 7, MIC Eq. 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from micgraph.sampling.plan import Batch, Requires
from micgraph.schema import ConfigError, check_range
from micgraph.tasks.base import Reps, Task
from micgraph.tasks.catalogue import full_softmax
from micgraph.tasks.losses import logistic_loss, mean, softmax_loss


@dataclass(frozen=True)
class MatchingConfig:
    """The matching loss L_S, or MIC's L_basic.

    Attributes:
        weight: of the loss (MIC's lambda scales it too, DECISIONS 22).
        loss: ``softmax`` or ``logistic`` (*literal* MIC Eq. 9).
        negatives: ``full`` (the whole catalogue), ``in_batch`` (the other targets), ``uniform`` or ``popularity``
            (drawn from the catalogue); never items that nobody has clicked. The softmax corrects in_batch and
            popularity by their log probabilities.
        count: negatives drawn.
        literal: the positive is left out of the denominator, as printed.
        spare_clicked: with ``full``, the user's other clicks, earlier and later ones, are no negatives; drawn and
            in_batch negatives are spared always.
        window: W, the target and the W - 1 clicks after it in the user's row are wanted (basket-mates of the target
            among them, also where ``strict`` histories end before it).
        window_weight: the mean loss of the window's clicks gets this share, the target's own loss the rest.

    Raises:
        ConfigError: a value out of range, ``full`` or ``window`` with a loss that does not have it, or
            ``spare_clicked`` without ``full``.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    weight: float = 1.0
    loss: Literal["softmax", "logistic"] = "softmax"
    negatives: Literal["full", "in_batch", "uniform", "popularity"] = "uniform"
    count: int = 512
    literal: bool = False
    spare_clicked: bool = False
    window: int = 1
    window_weight: float = 0.5

    def __post_init__(self) -> None:
        check_range(vars(self), "weight", at_least=0)
        check_range(vars(self), "count window", at_least=1)
        check_range(vars(self), "window_weight", at_least=0, at_most=1)
        if self.negatives == "full" and (self.loss == "logistic" or self.literal):
            expected = "in_batch, uniform or popularity with loss=logistic or literal=true"
            raise ConfigError("negatives", expected, "'full'", "draw negatives, or take the plain softmax")
        if self.spare_clicked and self.negatives != "full":
            remedy = "leave it out: negatives of other kinds are spared always"
            raise ConfigError("spare_clicked", "negatives=full", repr(self.negatives), remedy)
        if self.window > 1 and (self.loss == "logistic" or self.literal or self.negatives == "in_batch"):
            expected = "the softmax as decided, over the catalogue or over drawn negatives"
            got = f"loss={self.loss}, negatives={self.negatives}, literal={self.literal}"
            raise ConfigError("window", expected, got, "change these, or take window=1")


class Matching(Task):
    """Sampled softmax over negatives that the user has not clicked, or a softmax over the whole catalogue.

    With a window each wanted click stands in its own denominator beside the negatives; over the whole catalogue, if
    clicks are not spared, that is the cross-entropy with the wanted distribution.
    """

    def __init__(self, config: MatchingConfig) -> None:
        super().__init__()
        self.config, self.weight = config, config.weight
        self.requires = _requires(config)
        self.reads = "batch" if config.loss == "logistic" else "pairs"  # that is a mean over labels, not over pairs
        self.compact = config.negatives == "full"

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        if self.config.negatives == "full":
            return self._full(batch, reps)
        if self.config.negatives == "in_batch":
            positive, negative, blocked = self._in_batch(batch, reps)
        else:
            positive, negative, blocked = self._drawn(batch, reps)
        if self.config.loss == "logistic":
            return logistic_loss(positive, negative, blocked)
        if self.config.window == 1:
            return mean(softmax_loss(positive, negative, blocked, self.config.literal))
        return self._windowed(batch, reps, negative.masked_fill(blocked, -torch.inf))

    def _full(self, batch: Batch, reps: Reps) -> Tensor:
        wanted, weight = self._wanted(batch)
        clicked = batch.item_clicked if self.config.spare_clicked else None
        items, candidates = reps.search_items[:-1], batch.can_be_negative
        if candidates is not None:
            items, wanted = items[candidates], (candidates.cumsum(0) - 1)[wanted]
            clicked = None if clicked is None else clicked[:, candidates]
        return full_softmax(reps.search_queries, items, wanted, reps.scale, weight, clicked, batch.pair_row)

    def _wanted(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Local items int64 [P, W] that each query wants, and their weights float [P, W], 0 where there is none."""
        if self.config.window == 1:
            return batch.target[:, None], torch.ones_like(batch.target[:, None], dtype=torch.float32)
        assert batch.window is not None
        window = batch.window[:, : self.config.window]
        exists = window >= 0
        weight = self.config.window_weight * exists / exists.sum(1, keepdim=True)
        weight[:, 0] += 1 - self.config.window_weight
        return window.clamp(min=0), weight

    def _windowed(self, batch: Batch, reps: Reps, negative: Tensor) -> Tensor:
        """The loss against drawn negatives [P, S]: every wanted item has a denominator of its own."""
        wanted, weight = self._wanted(batch)
        queries = reps.search_queries * reps.scale
        scores = torch.einsum("pd,pwd->pw", queries, reps.search_items[wanted])
        gap = torch.logsumexp(negative, 1, keepdim=True) - scores
        return mean((weight * F.softplus(gap)).sum(1))

    def _drawn(self, batch: Batch, reps: Reps) -> tuple[Tensor, Tensor, Tensor]:
        assert self.requires.negatives is not None
        drawn = batch.negatives[self.requires.negatives]
        queries = reps.search_queries * reps.scale
        positive = (queries * reps.search_items[batch.target]).sum(-1)
        negative = queries @ reps.search_items[drawn.item].T
        if self.config.negatives == "popularity" and self.config.loss == "softmax":
            negative = negative - (drawn.log_q + math.log(self.config.count))
        return positive, negative, batch.clicked[self.requires.negatives][batch.pair_row]

    def _in_batch(self, batch: Batch, reps: Reps) -> tuple[Tensor, Tensor, Tensor]:
        """Scores against every distinct target of the batch, corrected by its popularity on both sides."""
        assert batch.target_clicked is not None
        scores = (reps.search_queries * reps.scale) @ reps.search_items[batch.distinct_target].T
        if self.config.loss == "softmax":
            scores = scores - batch.log_popularity[batch.distinct_target]
        positive = scores.gather(1, batch.target_place[:, None])[:, 0]
        return positive, scores, batch.target_clicked[batch.pair_row]  # a user's own target is one of his clicks


def _requires(config: MatchingConfig) -> Requires:
    if config.negatives == "full":
        return Requires(full=True, target_mask="items" if config.spare_clicked else "none", window=config.window)
    if config.negatives == "in_batch":
        return Requires(target_mask="batch")
    kind = (config.negatives, config.count)
    return Requires(negatives=kind, target_mask="negatives", window=config.window)
