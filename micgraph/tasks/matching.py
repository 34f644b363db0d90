"""The main objective: which item comes next (MicRec Eq. 7, MIC Eq. 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

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
            (drawn from the catalogue). The softmax corrects in_batch and popularity by their log probabilities.
        count: negatives drawn.
        literal: the positive is left out of the denominator, as printed.

    Raises:
        ConfigError: a value out of range, or ``full`` with a loss that it does not have.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    weight: float = 1.0
    loss: Literal["softmax", "logistic"] = "softmax"
    negatives: Literal["full", "in_batch", "uniform", "popularity"] = "uniform"
    count: int = 512
    literal: bool = False

    def __post_init__(self) -> None:
        check_range(vars(self), "weight", at_least=0)
        check_range(vars(self), "count", at_least=1)
        if self.negatives == "full" and (self.loss == "logistic" or self.literal):
            expected = "in_batch, uniform or popularity with loss=logistic or literal=true"
            raise ConfigError("negatives", expected, "'full'", "draw negatives, or take the plain softmax")


class Matching(Task):
    """Sampled softmax over negatives that the user has not clicked, or a softmax over the whole catalogue."""

    def __init__(self, config: MatchingConfig) -> None:
        super().__init__()
        self.config, self.weight = config, config.weight
        self.requires = _requires(config)

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        if self.config.negatives == "full":
            return full_softmax(reps.search_queries, reps.search_items[:-1], batch.target, reps.scale)
        if self.config.negatives == "in_batch":
            positive, negative, blocked = self._in_batch(batch, reps)
        else:
            positive, negative, blocked = self._drawn(batch, reps)
        if self.config.loss == "logistic":
            return logistic_loss(positive, negative, blocked)
        return mean(softmax_loss(positive, negative, blocked, self.config.literal))

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
        return Requires(full=True)
    if config.negatives == "in_batch":
        return Requires(target_mask="batch")
    return Requires(negatives=(config.negatives, config.count), target_mask="negatives")
