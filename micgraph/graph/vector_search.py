"""Which search compares dense vectors of items: every pair for few, cells of FAISS for many, and what it finds."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from importlib.util import find_spec

import torch
from torch import Tensor

from micgraph.extras import pip_line
from micgraph.knn import Ragged, near, topk
from micgraph.progress import progress_bar

SEARCHES = ("auto", "exact", "ivf")
MANY = 100_000
"""Distinct vectors above which ``"auto"`` searches approximately."""
LOW_RECALL = 0.9
"""A warning tells when fewer of the true neighbours are found."""
_TRIAL = 100

logger = logging.getLogger(__name__)


@dataclass
class Findings:
    """What there is to tell of similarity edges beside the edges.

    Attributes:
        notes: reason -> items without edges.
        measured: which source -> of the true neighbours of a sample, the share that an approximate search found.
    """

    notes: dict[str, int] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)


def nearest(
    vectors: Tensor, k: int, search: str, findings: Findings | None = None, source: str = "vectors"
) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest other rows of each row by inner product.

    Args:
        vectors: float32 [N, d], distinct, of length 1.
        k: neighbours a row.
        search: ``"exact"``; ``"ivf"``, approximately by FAISS (:func:`micgraph.knn.inverted.near`); or ``"auto"``,
            approximately for more than :data:`MANY` rows where FAISS is installed.
        findings: is told the recall of an approximate search.
        source: what the vectors are of, for messages.

    Returns:
        scores float32 [N, k] and ids int64 [N, k], -1 where there are fewer.

    Raises:
        MissingExtraError: ``"ivf"`` without FAISS.
    """
    many = len(vectors) > MANY
    if search == "ivf" and len(vectors) > 1 or search == "auto" and many and find_spec("faiss") is not None:
        score, ids, share = near(vectors, k, "semantic_search")
        if findings is not None:
            findings.measured[f"recall of similar items by {source}"] = share
        message = "similar items by %s: the approximate search finds %.1f%% of the true ones"
        logger.log(logging.WARNING if share < LOW_RECALL else logging.INFO, message, source, 100 * share)
        return score, ids
    if search == "auto" and many:
        _warn_of_time(vectors, k)
    own = torch.arange(len(vectors) + 1)
    with progress_bar(total=len(vectors), desc="nearest vectors") as bar:
        return topk(vectors, vectors, k, exclude=Ragged(own, own[:-1]), watch=bar.update)


def _warn_of_time(vectors: Tensor, k: int) -> None:
    begun = time.perf_counter()
    topk(vectors[:_TRIAL], vectors, k)
    minutes = (time.perf_counter() - begun) * len(vectors) / _TRIAL / 60
    logger.warning(
        "%d vectors are compared with each other, which may take %.0f minutes: %s for FAISS's "
        "approximate search, or set semantic_search: exact",
        len(vectors),
        minutes,
        pip_line("faiss-cpu"),
    )
