"""Settings of the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from micgraph.schema import check_range


@dataclass(frozen=True)
class TrainingConfig:
    """The loop.

    Attributes:
        epochs: at most so many.
        lr, weight_decay: of AdamW (weight_decay 0 is Adam).
        schedule: the learning rate stays (``constant``), or falls to 0 at the end of ``epochs`` along half a cosine,
            so that the ``epochs`` of a run that has begun are final.
        clip: largest norm of the gradient, 0 for no limit.
        patience: stop after so many validations without a better ``monitor``.
        validate_every: epochs between validations.
        monitor: the validation metric that selects the best weights, higher is better.
        checkpoint_every: steps between checkpoints, 0 for one at each epoch's end.
        micro_batch: so many queries (of each process) are encoded at a time, and again in the backward pass, for a
            batch that does not fit; the step is the same. 0: all at once, and once.
        precision: ``bf16`` autocast on CUDA, ``fp32`` elsewhere, with ``auto``.
        sparse_rows: tables of embeddings with at least so many rows are updated where a step has read them (lazy Adam):
            other rows keep their moments and do not decay. 0, and with several processes: every row of every table in
            every step.
        seed: of weights, batches and dropout.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    epochs: int = 20
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    clip: float = 5.0
    patience: int = 3
    validate_every: int = 1
    monitor: str = "recall@50"
    checkpoint_every: int = 0
    micro_batch: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    sparse_rows: int = 200_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(vars(self), "epochs patience validate_every", at_least=1)
        check_range(vars(self), "weight_decay clip checkpoint_every micro_batch sparse_rows", at_least=0)
        check_range(vars(self), "lr", above=0)
