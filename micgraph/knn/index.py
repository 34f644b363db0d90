"""Vectors with the metric that they must be searched by; saved and loaded with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from micgraph import artifact
from micgraph.knn.flat import flat_index, search_flat
from micgraph.knn.ragged import Ragged
from micgraph.knn.search import Metric, Subset, check_queries, pad, prepare, topk
from micgraph.schema import ArtifactError, ConfigError, InputError

IndexKind = Literal["torch", "faiss_flat"]

KIND, FORMAT = "index", 1


class VectorIndex:
    """Vectors that can be searched, with the metric they must be searched by.

    Attributes:
        vectors: float32 [N, d], as given.
        metric: ``"ip"`` or ``"cosine"``.
        kind: ``"torch"`` (exact, on the vectors' device) or ``"faiss_flat"`` (exact, on the CPU).
    """

    def __init__(self, vectors: Tensor, metric: Metric = "ip", kind: IndexKind = "torch") -> None:
        if kind not in get_args(IndexKind):
            raise ConfigError("kind", "one of " + ", ".join(get_args(IndexKind)), repr(kind), "pass one of them")
        if vectors.dim() != 2 or not bool(torch.isfinite(vectors).all()):
            got = f"shape {tuple(vectors.shape)}" if vectors.dim() != 2 else "inf or nan in them"
            raise InputError("vectors", "finite numbers of shape [N, d]", got, "check the model that made the vectors")
        check_queries(vectors, vectors.shape[1], 1, metric)
        self.vectors, self.metric, self.kind = vectors.detach().float(), metric, kind
        self._ready = prepare(self.vectors, metric)
        self._faiss = flat_index(self._ready, "kind") if kind == "faiss_flat" else None

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"VectorIndex({len(self)} vectors of {self.dim}, metric={self.metric!r}, kind={self.kind!r})"

    @property
    def dim(self) -> int:
        """d, the width of the vectors."""
        return self.vectors.shape[1]

    def subset(self, ids: Tensor) -> Subset:
        """Some of the vectors, int64 [C], made ready for several searches ``among`` them."""
        return Subset.of(self._ready, ids)

    def search(
        self, queries: Tensor, k: int, exclude: Ragged | None = None, among: Tensor | Subset | None = None
    ) -> tuple[Tensor, Tensor]:
        """:func:`micgraph.knn.topk` of the vectors: scores float32 [B, k] and ids int64 [B, k].

        Args:
            among: the only ids that may be found (torch searches them); or what :meth:`subset` made of them.
        """
        check_queries(queries, self.dim, k, self.metric)
        queries = prepare(queries, self.metric)
        if among is not None:
            return (among if isinstance(among, Subset) else self.subset(among)).search(queries, k, exclude)
        if self._faiss is not None:
            return pad(*search_flat(self._faiss, queries, len(self), k, exclude), k)
        return topk(queries, self._ready, k, "ip", exclude)

    def save(self, path: str | Path) -> None:
        """Write the vectors, the metric and the kind of index to the directory ``path``."""

        def write(folder: Path) -> None:
            save_file({"vectors": self.vectors.cpu().contiguous()}, folder / "vectors.safetensors")
            settings = {"metric": self.metric, "kind": self.kind, "shape": list(self.vectors.shape)}
            (folder / "index.json").write_text(json.dumps(settings))

        artifact.publish(path, KIND, FORMAT, write)

    @classmethod
    def load(cls, path: str | Path, metric: Metric | None = None, dim: int | None = None) -> VectorIndex:
        """Read an index.

        Args:
            metric, dim: what the caller's queries were made for; None takes what is there.

        Raises:
            ArtifactError: damaged, or its metric or width is not the expected one.
        """
        folder = artifact.resolve(path, KIND, FORMAT)
        settings = json.loads((folder / "index.json").read_text())
        for name, want, got in (("metric", metric, settings["metric"]), ("dim", dim, settings["shape"][1])):
            if want is not None and want != got:
                raise ArtifactError(str(path), f"{name} {want}", got, "load the index made from this model's vectors")
        return cls(load_file(folder / "vectors.safetensors")["vectors"], settings["metric"], settings["kind"])
