"""MicRec's semantic and session tasks: items are near those that a relation links them with (3.4, 3.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from micgraph.sampling.plan import Batch, Requires
from micgraph.schema import CO_OCCURS, SIMILAR, check_range
from micgraph.tasks.base import Reps, Task
from micgraph.tasks.losses import info_nce, mean


@dataclass(frozen=True)
class NeighbourConfig:
    """Semantic-level (MicRec Eq. 4) or session-level (Eq. 5) item CL.

    Attributes:
        weight: lambda_2 or lambda_3 of MicRec Eq. 8.
        negatives: items drawn from the catalogue, with logQ correction (DECISIONS 12).
        kind: how they are drawn.
        tau: temperature (the paper's 1.0 goes with inner products).
        cosine: compare directions.
        literal: the printed denominator; the session task then also rejects as negatives all items that ever
            co-occurred with the anchor.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    weight: float = 0.1
    negatives: int = 50
    kind: Literal["uniform", "popularity"] = "uniform"
    tau: float = 1.0
    cosine: bool = False
    literal: bool = False

    def __post_init__(self) -> None:
        check_range(vars(self), "weight", at_least=0)
        check_range(vars(self), "negatives", at_least=1)
        check_range(vars(self), "tau", above=0)


class NeighbourCL(Task):
    """An item is nearer to an item that a relation links it with than to items drawn from the catalogue.

    ``similar`` edges make it the semantic task (MicRec 3.4), ``co_occurs`` edges, drawn in proportion to their
    weights, the session task (MicRec 3.5).

    Args:
        config: weight, negatives, temperature.
        relation: ``similar`` or ``co_occurs``.
        dim: width of item vectors.
    """

    reads = "items"

    def __init__(self, config: NeighbourConfig, relation: str, dim: int) -> None:
        super().__init__()
        assert relation in (SIMILAR, CO_OCCURS)
        self.config, self.weight, self.relation = config, config.weight, relation
        every = relation == SIMILAR or config.literal
        self.requires = Requires(
            negatives=(config.kind, config.negatives),
            positives=relation,
            block="neighbours" if every else "drawn",
        )
        self.project = nn.Linear(dim, dim)

    def forward(self, batch: Batch, reps: Reps) -> Tensor:
        assert self.requires.negatives is not None
        positives, negatives = batch.positives[self.relation], batch.negatives[self.requires.negatives]
        vectors = reps.items.vectors
        losses = info_nce(
            self.project(vectors[batch.item_anchor]),
            self.project(vectors[positives.item]),
            self.project(vectors[negatives.item]),
            positives.blocked,
            log_q=negatives.log_q + math.log(self.config.negatives),
            tau=self.config.tau,
            cosine=self.config.cosine,
            literal=self.config.literal,
        )
        return mean(losses, positives.valid)
