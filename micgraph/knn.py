"""The k nearest vectors by inner product or cosine, with torch or FAISS; the metric travels with the vectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from micgraph import artifact
from micgraph.schema import ArtifactError, ConfigError, InputError, MissingExtraError

Metric = Literal["ip", "cosine"]
Backend = Literal["torch", "faiss"]
IndexKind = Literal["torch", "faiss_flat"]

KIND, FORMAT = "index", 1
BLOCK = 1 << 24
"""Scores computed at a time (float32: 64 MiB)."""


class Ragged(NamedTuple):
    """Lists of different lengths, one a row: row b is ``items[indptr[b]:indptr[b + 1]]``.

    Attributes:
        indptr: int64 [B + 1].
        items: int64 [S]; -1 stands for an item nobody knows.
    """

    indptr: Tensor
    items: Tensor

    @property
    def n_rows(self) -> int:
        return self.indptr.numel() - 1

    def owner(self) -> Tensor:
        """The row of every item: int64 [S]."""
        lengths = self.indptr[1:] - self.indptr[:-1]
        return torch.repeat_interleave(torch.arange(self.n_rows, device=self.items.device), lengths)

    def rows(self, start: int, stop: int) -> Ragged:
        """The lists of rows ``start`` to ``stop - 1``."""
        indptr = self.indptr[start : stop + 1]
        return Ragged(indptr - indptr[0], self.items[int(indptr[0]) : int(indptr[-1])])

    def contains(self, ids: Tensor) -> Tensor:
        """Which of ``ids`` int64 [B, C] are in the list of their row: bool [B, C] (never the id -1)."""
        width = 2 + max(int(t.max()) if t.numel() else 0 for t in (ids, self.items))
        keys = torch.sort(self.owner() * width + self.items + 1).values
        if not keys.numel():
            return torch.zeros_like(ids, dtype=torch.bool)
        wanted = torch.arange(len(ids), device=ids.device)[:, None] * width + ids + 1
        at = torch.searchsorted(keys, wanted).clamp(max=keys.numel() - 1)
        return (keys[at] == wanted) & (ids >= 0)


def topk(
    queries: Tensor,
    base: Tensor,
    k: int,
    metric: Metric = "ip",
    exclude: Ragged | None = None,
    among: Tensor | None = None,
    backend: Backend = "torch",
    chunk: int = BLOCK,
) -> tuple[Tensor, Tensor]:
    """The ``k`` best rows of ``base`` for every query, best first; equal scores by smaller id.

    Args:
        queries: float [B, d], or [B, K, d] where a query has several vectors: the best of them scores.
        base: float [N, d], finite.
        k: at least 1; may exceed N.
        metric: ``"ip"`` or ``"cosine"`` (a zero vector has cosine 0 with everything).
        exclude: ids that a query must not get; -1 in it excludes nothing.
        among: int64 [C], the only ids that may be found; all by default.
        backend: ``"torch"`` is exact; ``"faiss"`` as well, but of equal scores at rank k it keeps those it likes.
        chunk: how many scores may be held at a time.

    Returns:
        scores float32 [B, k] and ids int64 [B, k]; where fewer than ``k`` remain: score -inf, id -1.

    Raises:
        InputError: k < 1, an unknown metric or backend, widths that differ.
        MissingExtraError: the faiss backend without faiss.
    """
    _check(queries, base.shape[-1], k, metric)
    if backend not in get_args(Backend):
        raise InputError("backend", "'torch' or 'faiss'", repr(backend), "pass one of them")
    if among is not None:
        return _search_among(queries, base, k, metric, exclude, among, backend, chunk)
    queries, base = _prepare(queries, metric), _prepare(base, metric)
    if backend == "faiss":
        return _search_faiss(_flat_index(base), queries, len(base), k, exclude)
    parts = []
    for start, stop in _blocks(queries, len(base), chunk):
        left_out = None if exclude is None else exclude.rows(start, stop)
        parts.append(_pad(*_best(_scores(queries[start:stop], base, left_out), k), k))
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


@dataclass(frozen=True)
class NeighborTable:
    """The nearest neighbours of every vector, best first: the *near* edges, state of a run and not of the graph.

    Attributes:
        col: int32 [N, k], -1 where there are fewer.
        score: float16 [N, k], 0 where ``col`` is -1.
        version: which state of the vectors it was made from, such as the epoch.
    """

    col: Tensor
    score: Tensor
    version: int = 0

    def __len__(self) -> int:
        return len(self.col)


def neighbors(
    vectors: Tensor, k: int, metric: Metric = "cosine", exclude_self: bool = True, version: int = 0
) -> NeighborTable:
    """The ``k`` nearest of ``vectors`` float [N, d] for each of them, without itself unless ``exclude_self=False``."""
    own = torch.arange(len(vectors) + 1, device=vectors.device)
    score, col = topk(vectors, vectors, k, metric, exclude=Ragged(own, own[:-1]) if exclude_self else None)
    half = torch.finfo(torch.float16)
    score = torch.where(col >= 0, score.clamp(half.min, half.max), 0.0)
    return NeighborTable(col.to(torch.int32), score.to(torch.float16), version)


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
        _check(vectors, vectors.shape[1], 1, metric)
        self.vectors, self.metric, self.kind = vectors.detach().float(), metric, kind
        self._ready = _prepare(self.vectors, metric)
        self._faiss = _flat_index(self._ready) if kind == "faiss_flat" else None

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"VectorIndex({len(self)} vectors of {self.dim}, metric={self.metric!r}, kind={self.kind!r})"

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    def search(
        self, queries: Tensor, k: int, exclude: Ragged | None = None, among: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """:func:`topk` of the vectors: scores float32 [B, k] and ids int64 [B, k]."""
        _check(queries, self.dim, k, self.metric)
        queries = _prepare(queries, self.metric)
        if self._faiss is not None and among is None:
            return _search_faiss(self._faiss, queries, len(self), k, exclude)
        return topk(queries, self._ready, k, "ip", exclude, among)

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


def _check(queries: Tensor, dim: int, k: int, metric: str) -> None:
    if k < 1:
        raise InputError("k", "at least 1", k, "ask for one neighbour or more")
    if metric not in get_args(Metric):
        raise InputError("metric", "'ip' or 'cosine'", repr(metric), "pass one of them")
    if queries.dim() not in (2, 3) or queries.shape[-1] != dim:
        shape = f"shape [B, {dim}] or [B, K, {dim}]"
        raise InputError("queries", shape, tuple(queries.shape), "use vectors of the same model")


def _prepare(vectors: Tensor, metric: str) -> Tensor:
    vectors = vectors.detach().float()
    return normalize(vectors, dim=-1) if metric == "cosine" else vectors


def _blocks(queries: Tensor, n: int, chunk: int) -> Iterator[tuple[int, int]]:
    interests = queries.shape[1] if queries.dim() == 3 else 1
    step = max(1, chunk // max(1, n * interests))
    for start in range(0, max(1, len(queries)), step):
        yield start, min(start + step, len(queries))


def _scores(queries: Tensor, base: Tensor, exclude: Ragged | None) -> Tensor:
    scores = queries @ base.T
    if scores.dim() == 3:
        scores = scores.amax(1)
    if exclude is not None:
        known = exclude.items >= 0
        scores[exclude.owner()[known], exclude.items[known]] = -torch.inf
    return scores


def _best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Like ``torch.topk``, except that of equal scores the smaller id always wins."""
    k = min(k, scores.shape[1])
    value, ids = torch.topk(scores, min(k + 1, scores.shape[1]))
    if k < value.shape[1]:
        torn = ((value[:, k - 1] == value[:, k]) & (value[:, k] > -torch.inf)).nonzero()[:, 0]
        ids = ids[:, :k]
        if len(torn):
            rows, cut = scores[torn], value[torn, k - 1 : k]
            above, level = rows > cut, rows == cut
            room = k - above.sum(1, keepdim=True)
            ids[torn] = (above | (level & (level.cumsum(1) <= room))).nonzero()[:, 1].view(-1, k)
    ids = torch.sort(ids, dim=1).values
    value, order = torch.sort(scores.gather(1, ids), dim=1, descending=True, stable=True)
    return value, ids.gather(1, order)


def _pad(value: Tensor, ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
    room = (0, k - ids.shape[1])
    value = torch.nn.functional.pad(value, room, value=-torch.inf)
    ids = torch.nn.functional.pad(ids, room, value=-1)
    return value, torch.where(value > -torch.inf, ids, -1)


def _search_among(
    queries: Tensor, base: Tensor, k: int, metric: Metric, exclude: Ragged | None, among: Tensor, *rest: Any
) -> tuple[Tensor, Tensor]:
    among = torch.unique(among)
    if exclude is not None:
        place = torch.full((len(base) + 1,), -1, device=among.device)  # the last one is for the id -1
        place[among] = torch.arange(len(among), device=among.device)
        exclude = Ragged(exclude.indptr, place[exclude.items])
    value, ids = topk(queries, base[among], k, metric, exclude, None, *rest)
    return value, torch.cat([among, among.new_full((1,), -1)])[ids]


def _flat_index(base: Tensor) -> Any:
    try:
        import faiss
    except ImportError as error:
        remedy = "pip install 'micgraph[cpu]'"
        raise MissingExtraError("backend", "the package faiss", "no such package", remedy) from error
    index = faiss.IndexFlatIP(base.shape[1])
    index.add(base.cpu().numpy())
    return index


def _search_faiss(index: Any, queries: Tensor, n: int, k: int, exclude: Ragged | None) -> tuple[Tensor, Tensor]:
    """Search by FAISS, which cannot leave ids out for one query only: fetch more, then drop them."""
    flat = queries.reshape(-1, queries.shape[-1])
    longest = 0 if exclude is None or not exclude.n_rows else int((exclude.indptr[1:] - exclude.indptr[:-1]).max())
    found = index.search(flat.cpu().numpy(), max(1, min(n, k + longest)))
    value, ids = (torch.from_numpy(x).to(queries.device).reshape(len(queries), -1) for x in found)
    if exclude is not None:
        value = value.masked_fill(exclude.contains(ids), -torch.inf)
    value, order = torch.sort(value, dim=1, descending=True, stable=True)
    ids, by_id = torch.sort(ids.gather(1, order), dim=1, stable=True)
    value = value.gather(1, by_id)
    again = torch.zeros_like(ids, dtype=torch.bool)  # found by several vectors of a query
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    value = value.masked_fill(again | (ids < 0), -torch.inf)
    value, order = torch.sort(value, dim=1, descending=True, stable=True)
    return _pad(value[:, :k], ids.gather(1, order)[:, :k], k)
