"""How much of an approximate index a search must read for the recall that is wanted, by measurement."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from micgraph.knn.index import VectorIndex
from micgraph.knn.index_config import CELLS, QUANTISED, IndexConfig
from micgraph.knn.ragged import Ragged
from micgraph.knn.search import topk
from micgraph.progress import progress_bar
from micgraph.schema import ConfigError, InputError, check_range

HELD_MOST = 32
"""HNSW holds at most so many times k vectors."""
ROUNDING = 1e-5
"""Scores that differ by less, measured by a query's largest one, are equal."""


class Trial(NamedTuple):
    """One measurement.

    Attributes:
        settings: what was searched with.
        recall: of the true nearest vectors of the queries, the share that was found; an equally near one will do.
        per_second: queries a second, all of them in one call.
    """

    settings: IndexConfig
    recall: float
    per_second: float


@dataclass(frozen=True)
class TunedIndex:
    """An index that finds enough.

    Attributes:
        index: the same vectors and structure, searched with the settings that were chosen.
        trials: everything measured, in the order of measuring.
        chosen: the least work that found enough.
    """

    index: VectorIndex
    trials: list[Trial]
    chosen: Trial


def tune_recall(
    index: VectorIndex, queries: Tensor, k: int, recall: float = 0.95, exclude: Ragged | None = None
) -> TunedIndex:
    """The least work with which a search finds the share ``recall`` of the true ``k`` nearest vectors of the queries.

    ``ef_search`` or ``nprobe`` is doubled until enough is found, then the last step is halved twice. For quantised
    kinds ``refine`` comes first: the smallest power of two with which their codes cost at most half of what may be
    missed, all cells being read. Exact kinds are measured once.

    Args:
        index: built already; its settings of a search do not matter.
        queries: float [B, d] or [B, K, d], a sample of what will be asked, not of the vectors: they lie elsewhere.
        k: how many vectors a query asks for.
        recall: above 0 and at most 1.
        exclude: ids that a query must not get.

    Raises:
        ConfigError: a recall out of range, or one that the structure does not reach.
        InputError: no queries.
    """
    check_range({"recall": recall}, "recall", above=0, at_most=1)
    if not len(queries):
        raise InputError("queries", "at least one", "none", "pass a sample of what will be asked")
    true = topk(queries, index.vectors, k, index.metric, exclude)[0]
    trials: list[Trial] = []
    with progress_bar(desc="recall by settings") as bar:

        def measure(settings: IndexConfig) -> float:
            begin = time.perf_counter()
            found = index.searching(settings).search(queries, k, exclude)[0]
            seconds = max(time.perf_counter() - begin, 1e-9)
            trials.append(Trial(settings, _share(found, true), len(queries) / seconds))
            bar.update()
            return trials[-1].recall

        settings = _enough(index, k, recall, measure)
    chosen = next(trial for trial in reversed(trials) if trial.settings == settings)
    return TunedIndex(index.searching(settings), trials, chosen)


def _share(found: Tensor, true: Tensor) -> float:
    """The share of as many vectors as there are true ones that score as well as those, scores [B, k] each. By scores
    and not by ids: equal vectors (of users with one click, the same one) stand for each other."""
    known = true > -torch.inf
    lowest = true.masked_fill(~known, torch.inf).amin(1, keepdim=True)
    rounding = ROUNDING * true.masked_fill(~known, 0.0).abs().amax(1, keepdim=True)
    hits = torch.minimum((found >= lowest - rounding).sum(1), known.sum(1))
    return float(hits.sum()) / float(known.sum()) if bool(known.any()) else 1.0


def _enough(index: VectorIndex, k: int, recall: float, measure: Callable[[IndexConfig], float]) -> IndexConfig:
    """The settings of :func:`tune_recall`."""
    settings, kind = index.settings, index.kind
    if kind in QUANTISED:
        whole = replace(settings, nprobe=index.cells)
        aim, most = (1 + recall) / 2, -(-len(index) // k)
        refine = _least(1, most, 1, lambda size: measure(replace(whole, refine=size)) >= aim)
        settings = replace(settings, refine=refine or most)
    if kind in CELLS:
        name, least, most = "nprobe", 1, index.cells
    elif kind == "faiss_hnsw":
        name, least, most = "ef_search", k, min(HELD_MOST * k, max(len(index), k))
    else:
        measure(settings)
        return settings
    seen: list[float] = []

    def enough(size: int) -> bool:
        seen.append(measure(replace(settings, **{name: size})))
        return seen[-1] >= recall

    size = _least(least, most, 4, enough)
    if size is None:
        expected = f"at most {max(seen):.4f}, which {kind} reaches with {name}={most}"
        raise ConfigError("recall", expected, recall, "build it with more links (hnsw_m, ef_construction), or as IVF")
    return replace(settings, **{name: size})


def _least(least: int, most: int, parts: int, enough: Callable[[int], bool]) -> int | None:
    """The smallest size that is enough: doubled from ``least`` on, then between the last two to a part of the step.

    Returns:
        None where ``most`` is not enough either.
    """
    low, high = least - 1, least
    while not enough(high):
        if high == most:
            return None
        low, high = high, min(2 * high, most)
    gap = max(1, (high - low) // parts)
    while high - low > gap and low >= least:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
