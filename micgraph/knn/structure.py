"""What FAISS makes of vectors so that a search need not read them all: built, written and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from micgraph.extras import pip_line
from micgraph.knn.flat import load_faiss
from micgraph.knn.index_config import CELLS, EXACT, QUANTISED, IndexConfig, IndexKind
from micgraph.knn.inverted import fill, quantizer, threads
from micgraph.schema import ArtifactError, ConfigError, InputError, MissingExtraError

Vectors = NDArray[np.float32]

TRAINED = 65_536
"""Vectors from which the codes of quantised kinds are learned, at most."""
_PQ_BITS, _PQ_LEAST = 8, 256
_GPU_MOST = 2_048
_CLASSES = {
    "faiss_ivf": "IndexIVFFlat",
    "faiss_hnsw": "IndexHNSWFlat",
    "faiss_int8": "IndexIVFScalarQuantizer",
    "faiss_pq": "IndexIVFPQ",
}


@dataclass(frozen=True)
class Structure:
    """An index of FAISS by inner product and how it is searched.

    Attributes:
        index: of FAISS.
        effort: its parameters of a search; None where it has none.
        refine: how many times k vectors are taken and ranked by the vectors themselves; 0: its scores are exact.
        most: the largest number of vectors that one search gives.
    """

    index: Any
    effort: Any = None
    refine: int = 0
    most: int | None = None

    def search(self, queries: Vectors, size: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Scores and ids [B, size], best first; the id is -1 where fewer were found."""
        if self.most is not None and size > self.most:
            shape = (len(queries), size)
            return np.full(shape, -np.inf, np.float32), np.full(shape, -1)
        score, ids = self.index.search(queries, size, params=self.effort)
        return score, ids

    def nbytes(self) -> int:
        """Bytes of memory, without the vectors that are kept beside it."""
        index, kind = self.index, type(self.index).__name__
        if kind == "IndexHNSWFlat":
            links = index.hnsw.neighbors.size() * 4 + index.hnsw.offsets.size() * 8 + index.hnsw.levels.size() * 4
            return int(index.ntotal * index.d * 4 + links)
        if kind in _CLASSES.values():
            return int(index.ntotal * (index.code_size + 8) + index.nlist * index.d * 4)
        return int(index.ntotal * index.d * 4)


def require(kind: IndexKind, argument: str) -> Any:
    """The module ``faiss`` as far as ``kind`` needs it, for the setting ``argument``.

    Raises:
        MissingExtraError: it is not installed, or it was built for the CPU alone.
        ConfigError: there is no GPU.
    """
    if kind == "torch":
        return None
    faiss = load_faiss(argument, "faiss-gpu" if kind == "faiss_gpu" else "faiss-cpu")
    if kind == "faiss_gpu":
        if not hasattr(faiss, "StandardGpuResources"):
            remedy = f"pip uninstall faiss-cpu; {pip_line('faiss-gpu')}"
            raise MissingExtraError(argument, "the package faiss-gpu", "faiss for the CPU alone", remedy)
        if faiss.get_num_gpus() < 1:
            raise ConfigError(argument, "a GPU that FAISS can use", "none", "take 'torch' or a kind for the CPU")
    return faiss


def build(base: Vectors, kind: IndexKind, settings: IndexConfig, argument: str = "kind") -> Structure:
    """The structure ``kind`` over ``base`` float32 [N, d], N > 0; equal vectors and settings give an equal one.

    Raises:
        ConfigError: more cells than vectors, or bytes that do not divide the width.
        InputError: too few vectors for ``faiss_pq``.
        MissingExtraError: see :func:`require`.
    """
    faiss, dim = require(kind, argument), base.shape[1]
    if kind in EXACT:
        index = faiss.IndexFlatIP(dim)
        index.add(base)
        if kind == "faiss_gpu":
            return Structure(faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index), most=_GPU_MOST)
        return Structure(index)
    if kind == "faiss_hnsw":
        index = faiss.IndexHNSWFlat(dim, settings.hnsw_m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = settings.ef_construction
        with threads(faiss, settings.threads):
            fill(index, base, "vectors and their links")
    else:
        index = _cells(faiss, base, kind, settings)
    return tuned(Structure(index), kind, settings)


def extended(structure: Structure, new: Vectors) -> Structure | None:
    """A copy with more vectors, float32 [C, d], behind the others: cells, centres and codebooks stay as they are.

    Returns:
        The copy, searched in the same way; None where FAISS copies no such index (one on a GPU).
    """
    faiss = load_faiss("kind")
    if structure.most is not None:
        return None
    index = faiss.deserialize_index(faiss.serialize_index(structure.index))  # a clone of what is mapped cannot grow
    with threads(faiss, 1):
        fill(index, new, "vectors")
    return replace(structure, index=index)


def tuned(structure: Structure, kind: IndexKind, settings: IndexConfig) -> Structure:
    """The same index, searched as ``settings`` say."""
    refine = settings.refine if kind in QUANTISED else 0
    if kind in EXACT:
        return structure
    faiss = load_faiss("kind")
    if kind in CELLS:
        return replace(structure, effort=faiss.SearchParametersIVF(nprobe=settings.nprobe), refine=refine)
    return replace(structure, effort=faiss.SearchParametersHNSW(efSearch=settings.ef_search))


def write(structure: Structure, path: Path) -> None:
    """Write the index to the file ``path``."""
    faiss = load_faiss("kind")
    with path.open("wb") as file:  # FAISS's own files do not tell where their last bytes find no room
        faiss.write_index(structure.index, faiss.PyCallbackIOWriter(file.write))


def read(path: Path, shape: tuple[int, int], kind: IndexKind, settings: IndexConfig) -> Structure:
    """What :func:`write` wrote for N vectors of width d, ``shape``; mapped where FAISS can, so processes share it.

    Raises:
        ArtifactError: no such file, damaged, or made of other vectors or of another kind.
    """
    faiss = load_faiss("kind")
    remedy = "make the index again"
    try:
        index = faiss.read_index(str(path), getattr(faiss, "IO_FLAG_MMAP_IFC", 0))
    except RuntimeError as error:
        raise ArtifactError(str(path), "an index that FAISS wrote", "none, or a damaged one", remedy) from error
    found = type(index).__name__, (index.ntotal, index.d), index.metric_type
    if found != (_CLASSES[kind], tuple(shape), faiss.METRIC_INNER_PRODUCT):
        expected = f"{_CLASSES[kind]} of {shape[0]} vectors of {shape[1]}, by inner product"
        raise ArtifactError(str(path), expected, f"{found[0]} of {index.ntotal} vectors of {index.d}", remedy)
    return tuned(Structure(index), kind, settings)


def _cells(faiss: Any, base: Vectors, kind: IndexKind, settings: IndexConfig) -> Any:
    """Vectors in cells: as they are, or what a cell's centre leaves of them as one byte a number or by codebooks."""
    n, dim = base.shape
    nlist = settings.nlist or max(1, min(4 * isqrt(n), n // 2))
    if nlist > n:
        raise ConfigError("nlist", f"at most {n}, the number of vectors", nlist, "leave it out")
    make = _coded(faiss, n, dim, kind, settings)
    with threads(faiss, 1):
        index = make(quantizer(faiss, base, nlist), dim, nlist)
        drawn = np.random.default_rng(nlist).permutation(n)[:TRAINED]
        index.train(base[np.sort(drawn)])  # the centres are there: only codes are learned
        fill(index, base, "vectors into cells")
    return index


def _coded(faiss: Any, n: int, dim: int, kind: IndexKind, settings: IndexConfig) -> Callable[[Any, int, int], Any]:
    """What makes the empty index of a quantizer, the width and the number of cells."""
    by = faiss.METRIC_INNER_PRODUCT
    if kind == "faiss_ivf":
        return lambda centres, d, nlist: faiss.IndexIVFFlat(centres, d, nlist, by)
    if kind == "faiss_int8":
        code = faiss.ScalarQuantizer.QT_8bit
        return lambda centres, d, nlist: faiss.IndexIVFScalarQuantizer(centres, d, nlist, code, by)
    if n < _PQ_LEAST:
        raise InputError("vectors", f"at least {_PQ_LEAST} for faiss_pq", n, "take faiss_int8 or faiss_ivf")
    size = settings.pq_m or max(m for m in range(1, max(1, dim // 4) + 1) if dim % m == 0)
    if dim % size:
        raise ConfigError("pq_m", f"a divisor of the width {dim}", size, "pass one, or leave it out")
    return lambda centres, d, nlist: _quiet(faiss.IndexIVFPQ(centres, d, nlist, size, _PQ_BITS, by))


def _quiet(index: Any) -> Any:
    """FAISS warns on stderr where a codebook is learned from less than it likes; :data:`_PQ_LEAST` is what it needs."""
    index.pq.cp.min_points_per_centroid = 1
    return index
