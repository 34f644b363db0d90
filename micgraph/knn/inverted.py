"""Approximate nearest neighbours by FAISS: vectors lie in cells (IVF), and a query reads the nearest cells alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.knn.flat import load_faiss
from micgraph.knn.ragged import Ragged
from micgraph.knn.search import topk
from micgraph.progress import progress_bar

AIM = 0.95
"""The recall on the sample that is read for."""
SAMPLE = 1_000
"""Vectors on which the recall is measured."""
FIRST_CELLS, MOST_CELLS = 8, 1 / 8
"""How many cells a query reads at first, and the largest part of all cells that it may: then an exact search, which
multiplies whole matrices, takes no longer."""
_ROUNDS, _PER_CELL, _SEED, _BLOCK = 10, 64, 7, 4096


class Near(NamedTuple):
    """The neighbours of every vector and how many of the true ones they are.

    Attributes:
        score: float32 [N, k], best first; -inf where fewer were found.
        ids: int64 [N, k], -1 where fewer were found.
        recall: of the true neighbours of :data:`SAMPLE` vectors, the share that was found.
    """

    score: Tensor
    ids: Tensor
    recall: float


def near(vectors: Tensor, k: int, argument: str) -> Near:
    """The ``k`` rows with the largest inner product for every row, itself left out, most of them the true ones.

    A query reads as many cells as it takes to find :data:`AIM` of the true neighbours of a sample, twice as many at
    each try. Centres are those of a k-means of a fixed sample with a fixed seed, and whatever depends on how threads
    share the work is done by one of them, so the result is the same with any number.

    Args:
        vectors: float32 [N, d] on the CPU, N > 1, of length 1, distinct.
        k: neighbours a row.
        argument: the setting that asks for FAISS, for the error.

    Raises:
        MissingExtraError: FAISS is not installed.
    """
    faiss = load_faiss(argument)
    base = np.ascontiguousarray(vectors.numpy())
    sample = sampled(len(base))
    true = true_neighbors(vectors, torch.from_numpy(sample), k)
    with threads(faiss, 1):
        index = _index(faiss, base)
    cells, most = FIRST_CELLS, max(FIRST_CELLS, int(index.nlist * MOST_CELLS))
    while cells < most and recall(_search(faiss, index, base, sample, cells, k)[1], true) < AIM:
        cells = min(2 * cells, most)
    score, ids = _search(faiss, index, base, np.arange(len(base)), cells, k)
    return Near(torch.from_numpy(score), torch.from_numpy(ids), recall(ids[sample], true))


def sampled(n: int) -> NDArray[np.int64]:
    """The rows of ``n`` on which the recall is measured; drawn apart from the first centres, whose own is better."""
    return np.sort(np.random.default_rng((_SEED, n)).permutation(n)[:SAMPLE])


def true_neighbors(vectors: Tensor, rows: Tensor, k: int) -> Tensor:
    """The ``k`` nearest other rows of some ``rows`` int64 [S] of ``vectors`` float [N, d] by inner product: [S, k]."""
    return topk(vectors[rows], vectors, k, exclude=Ragged(torch.arange(len(rows) + 1), rows))[1]


def recall(found: NDArray[np.int64], true: Tensor) -> float:
    """The share of the ids in ``true`` int64 [S, k] (-1: none) that are in the same row of ``found`` int64 [S, k]."""
    known = true >= 0
    hit = (true[:, :, None] == torch.from_numpy(found)[:, None, :]).any(2) & known
    return int(hit.sum()) / max(int(known.sum()), 1)


@contextmanager
def threads(faiss: Any, count: int) -> Iterator[None]:
    """Let FAISS use so many threads. More than one and matrix products round differently as threads divide them, and a
    rounding moves a vector to another cell."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _index(faiss: Any, base: NDArray[np.float32]) -> Any:
    """An index of about 4 sqrt(N) cells with all vectors in it."""
    n, dim = base.shape
    cells = max(1, min(round(4 * n**0.5), n // 2))
    index = faiss.IndexIVFFlat(quantizer(faiss, base, cells), dim, cells, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    fill(index, base, "vectors into cells")
    return index


def quantizer(faiss: Any, base: NDArray[np.float32], cells: int) -> Any:
    """A flat index of the centres of so many cells, by a k-means of a fixed sample of ``base`` float32 [N, d]."""
    n, dim = base.shape
    drawn = np.random.default_rng(_SEED).permutation(n)[: _PER_CELL * cells]
    train, centres = base[drawn], base[drawn[:cells]]
    limits = {"min_points_per_centroid": 1, "max_points_per_centroid": _PER_CELL + 1}
    for _ in progress_bar(range(_ROUNDS), desc="centres of cells"):
        means = faiss.Kmeans(dim, cells, niter=1, spherical=True, seed=_SEED, **limits)
        means.train(train, init_centroids=centres)
        centres = means.centroids
    index = faiss.IndexFlatIP(dim)
    index.add(centres)
    return index


def fill(index: Any, base: NDArray[np.float32], what: str) -> None:
    """Add the rows of ``base`` to an index of FAISS, under a bar that says ``what`` is made."""
    for begin in progress_bar(range(0, len(base), _BLOCK), desc=what):
        index.add(base[begin : begin + _BLOCK])


def _search(
    faiss: Any, index: Any, base: NDArray[np.float32], rows: NDArray[np.int64], cells: int, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``k`` best for the vectors ``rows`` in as many cells, themselves left out."""
    score = np.full((len(rows), k), -np.inf, dtype=np.float32)
    ids = np.full((len(rows), k), -1, dtype=np.int64)
    for begin in progress_bar(range(0, len(rows), _BLOCK), desc="nearest vectors"):
        part = slice(begin, begin + _BLOCK)
        queries = base[rows[part]]
        with threads(faiss, 1):
            nearness, nearest = index.quantizer.search(queries, min(cells, index.nlist))
        index.nprobe = nearest.shape[1]
        value, found = index.search_preassigned(queries, k + 1, Iq=nearest, Dq=nearness)
        others = (found != rows[part, None]) & (found >= 0)
        order = np.argsort(~others, axis=1, kind="stable")[:, :k]  # itself comes last and falls off
        value, found = (np.take_along_axis(x, order, 1) for x in (np.where(others, value, -np.inf), found))
        score[part], ids[part] = value, np.where(value > -np.inf, found, -1)
    return score, ids
