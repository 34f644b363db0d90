"""Vectors with the metric that they must be searched by; saved and loaded with it."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from micgraph import artifact
from micgraph.knn import structure
from micgraph.knn.fetch import Exactly, fetch
from micgraph.knn.index_config import CELLS, EXACT, IndexConfig, IndexKind, checked
from micgraph.knn.ragged import Ragged
from micgraph.knn.search import Metric, Subset, check_exclude, check_queries, prepare, topk
from micgraph.schema import ArtifactError, ConfigError, InputError

KIND, FORMAT = "index", 1
_VECTORS, _ABOUT, _STRUCTURE = "vectors.safetensors", "index.json", "structure.faiss"


class VectorIndex:
    """Vectors that can be searched, with the metric they must be searched by.

    The approximate kinds find most of the nearest vectors; what they find has exact scores, and a query for which they
    find fewer than it asks for is answered exactly. :func:`micgraph.knn.tune_recall` says how many they find.

    Args:
        vectors: float [N, d], finite.
        metric: ``"ip"`` or ``"cosine"``.
        kind: ``"torch"``, exact, on the vectors' device; ``"faiss_flat"``, exact, on the CPU; ``"faiss_gpu"``, exact,
            on a GPU; ``"faiss_ivf"``, vectors in cells, of which a search reads some; ``"faiss_hnsw"``, vectors with
            links to near ones; ``"faiss_int8"`` and ``"faiss_pq"``, cells of vectors with one byte a number or
            product-quantised, whose finds the vectors themselves rank.
        settings: of the approximate kinds.
        stored: a file that :meth:`write_structure` wrote for the same vectors; None makes the structure.

    Attributes:
        vectors: float32 [N, d], as given.
        metric, kind, settings: as given.

    Raises:
        ConfigError: an unknown kind, settings that do not fit the vectors, or no GPU for ``"faiss_gpu"``.
        InputError: no finite vectors, an unknown metric, or too few vectors for ``"faiss_pq"``.
        MissingExtraError: a kind of FAISS's, and it is not installed.
        ArtifactError: ``stored`` is damaged, or of other vectors or another kind.
    """

    def __init__(
        self,
        vectors: Tensor,
        metric: Metric = "ip",
        kind: IndexKind = "torch",
        settings: IndexConfig | None = None,
        stored: Path | None = None,
    ) -> None:
        if kind not in get_args(IndexKind):
            raise ConfigError("kind", "one of " + ", ".join(get_args(IndexKind)), repr(kind), "pass one of them")
        if not isinstance(vectors, Tensor):
            raise InputError("vectors", "a tensor", type(vectors).__name__, "pass torch.from_numpy(...) of it")
        if vectors.dim() != 2 or not bool(torch.isfinite(vectors).all()):
            got = f"shape {tuple(vectors.shape)}" if vectors.dim() != 2 else "inf or nan in them"
            raise InputError("vectors", "finite numbers of shape [N, d]", got, "check the model that made the vectors")
        check_queries(vectors, vectors.shape[1], 1, metric)
        self.vectors, self.metric, self.kind = vectors.detach().float(), metric, kind
        self.settings = IndexConfig() if settings is None else checked(settings)
        self._structure = self._structured(stored)

    def _structured(self, stored: Path | None) -> structure.Structure | None:
        """What FAISS searches; None where torch does, and where there are no vectors at all."""
        structure.require(self.kind, "kind")
        if self.kind == "torch" or not len(self):
            return None
        if stored is not None and self.kind not in EXACT:
            return structure.read(stored, (len(self), self.dim), self.kind, self.settings)
        base = prepare(self.vectors, self.metric).cpu().contiguous().numpy()
        return structure.build(base, self.kind, self.settings)

    @cached_property
    def _ready(self) -> Tensor:
        """The vectors whose inner products are the metric: a copy where that is the cosine."""
        return prepare(self.vectors, self.metric)

    @cached_property
    def _exactly(self) -> Exactly:
        return Exactly(self.vectors, self.metric == "cosine")

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"VectorIndex({len(self)} vectors of {self.dim}, metric={self.metric!r}, kind={self.kind!r})"

    @property
    def dim(self) -> int:
        """d, the width of the vectors."""
        return self.vectors.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the kind takes beside the vectors."""
        return 0 if self._structure is None else self._structure.nbytes()

    @property
    def cells(self) -> int:
        """How many cells the vectors lie in; 1 for kinds without."""
        return int(self._structure.index.nlist) if self._structure is not None and self.kind in CELLS else 1

    def searching(self, settings: IndexConfig) -> VectorIndex:
        """The same index with other settings of a search (``nprobe``, ``ef_search``, ``refine``); nothing is built.

        Args:
            settings: those of building are taken as they are, not made true.
        """
        other = copy(self)
        other.settings = checked(settings)
        if self._structure is not None:
            other._structure = structure.tuned(self._structure, self.kind, settings)
        return other

    def extended(self, new: Tensor) -> VectorIndex:
        """An index that has more vectors behind its own; this one stays as it is, for searches that are under way.

        Nothing is built anew but on a GPU: cells, centres and codebooks are copied as they are, so that many vectors
        of another kind than the first ones are found less well in approximate kinds.

        Args:
            new: float [C, d], finite.

        Raises:
            InputError: vectors of another shape, or not finite.
        """
        if new.dim() != 2 or new.shape[1] != self.dim or not bool(torch.isfinite(new).all()):
            got = f"shape {tuple(new.shape)}" if new.shape[1:] != (self.dim,) else "inf or nan in them"
            raise InputError("new", f"finite numbers of shape [C, {self.dim}]", got, "use vectors of the same model")
        both = torch.cat([self.vectors, new.detach().float().to(self.vectors.device)])
        grown = None
        if self._structure is not None:
            grown = structure.extended(self._structure, prepare(new, self.metric).cpu().contiguous().numpy())
        if grown is None:
            return VectorIndex(both, self.metric, self.kind, self.settings)
        other = copy(self)
        for made in ("_ready", "_exactly"):
            other.__dict__.pop(made, None)
        other.vectors, other._structure = both, grown
        return other

    def subset(self, ids: Tensor) -> Subset:
        """Some of the vectors, int64 [C], made ready for several searches ``among`` them."""
        return Subset.of(self._ready, ids)

    def search(
        self, queries: Tensor, k: int, exclude: Ragged | None = None, among: Tensor | Subset | None = None
    ) -> tuple[Tensor, Tensor]:
        """:func:`micgraph.knn.topk` of the vectors, as far as the kind finds them: scores float32 [B, k] and ids int64
        [B, k].

        Args:
            among: the only ids that may be found (torch searches them); or what :meth:`subset` made of them.

        Raises:
            InputError: k is no whole number from 1 on, queries that are no finite numbers of the vectors' width, or
                ``exclude`` or ``among`` that are no ids.
        """
        check_queries(queries, self.dim, k, self.metric)
        if not bool(torch.isfinite(queries).all()):
            raise InputError("queries", "finite numbers", "inf or nan in them", "check the model that made them")
        check_exclude(exclude, queries)
        queries = prepare(queries, self.metric)
        if among is not None:
            return (among if isinstance(among, Subset) else self.subset(among)).search(queries, k, exclude)
        found = self._structure
        if found is None:
            return topk(queries, self._ready, k, "ip", exclude)
        # of several vectors of a query one may find what is nearer to another: its own score is not the best
        exactly = self._exactly if found.refine or queries.dim() == 3 else None
        score, ids = fetch(found, queries, len(self), k, exclude, exactly, max(1, found.refine))
        return (score, ids) if self.kind == "faiss_flat" else self._completed(queries, score, ids, exclude)

    def _completed(self, queries: Tensor, score: Tensor, ids: Tensor, exclude: Ragged | None) -> tuple[Tensor, Tensor]:
        """The exact answer where fewer were found than asked for: cells that hold too little, links that end."""
        short = ids[:, -1] < 0
        if bool(short.any()):
            rows = short.nonzero()[:, 0]
            left_out = None if exclude is None else exclude.pick(rows)
            score[rows], ids[rows] = topk(queries[rows], self._ready, ids.shape[1], "ip", left_out)
        return score, ids

    def write_structure(self, path: Path) -> None:
        """Write what a kind has to build, so that it need not be built again, to the file ``path``; none for others."""
        if self._structure is not None and self.kind not in EXACT:
            structure.write(self._structure, path)

    def save(self, path: str | Path) -> None:
        """Write the vectors, the metric and the kind of index with its structure to the directory ``path``."""

        def write(folder: Path) -> None:
            save_file({"vectors": self.vectors.cpu().contiguous()}, folder / _VECTORS)
            about = {"metric": self.metric, "kind": self.kind, "shape": list(self.vectors.shape)}
            (folder / _ABOUT).write_text(json.dumps({**about, "settings": asdict(self.settings)}))
            self.write_structure(folder / _STRUCTURE)

        artifact.publish(path, KIND, FORMAT, write)

    @classmethod
    def load(cls, path: str | Path, metric: Metric | None = None, dim: int | None = None) -> VectorIndex:
        """Read an index; its structure is mapped, not built.

        Args:
            metric, dim: what the caller's queries were made for; None takes what is there.

        Raises:
            ArtifactError: damaged, or its metric or width is not the expected one.
            MissingExtraError: see the class.
        """
        return artifact.opened(path, KIND, FORMAT, lambda folder: cls._load(folder, path, metric, dim))

    @classmethod
    def _load(cls, folder: Path, path: str | Path, metric: Metric | None, dim: int | None) -> VectorIndex:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        for name, want, got in (("metric", metric, about["metric"]), ("dim", dim, about["shape"][1])):
            if want is not None and want != got:
                raise ArtifactError(str(path), f"{name} {want}", got, "load the index made from this model's vectors")
        vectors, settings = load_file(folder / _VECTORS)["vectors"], IndexConfig(**about.get("settings", {}))
        return cls(vectors, about["metric"], about["kind"], settings, folder / _STRUCTURE)
