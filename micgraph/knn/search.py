"""Exact search for the k best rows of a matrix, and the table of every row's neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from micgraph.knn.fetch import Exactly, fetch
from micgraph.knn.flat import flat_index
from micgraph.knn.ragged import Ragged
from micgraph.schema import InputError

Metric = Literal["ip", "cosine"]
Backend = Literal["torch", "faiss"]

Watch = Callable[[int], object]

BLOCK = 1 << 24
"""Scores computed at a time (float32: 64 MiB)."""


def topk(
    queries: Tensor,
    base: Tensor,
    k: int,
    metric: Metric = "ip",
    exclude: Ragged | None = None,
    among: Tensor | None = None,
    backend: Backend = "torch",
    chunk: int = BLOCK,
    watch: Watch | None = None,
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
        watch: told how many queries are done, block by block (torch alone).

    Returns:
        scores float32 [B, k] and ids int64 [B, k]; where fewer than ``k`` remain: score -inf, id -1.

    Raises:
        InputError: k < 1, an unknown metric or backend, widths that differ, no ids in ``among``, no rows of them in
            ``exclude``.
        MissingExtraError: the faiss backend without faiss.
    """
    check_queries(queries, base.shape[-1], k, metric)
    if backend not in get_args(Backend):
        raise InputError("backend", "'torch' or 'faiss'", repr(backend), "pass one of them")
    check_exclude(exclude, queries)
    queries, base = prepare(queries, metric), prepare(base, metric)
    if among is not None:
        return Subset.of(base, among).search(queries, k, exclude, backend, chunk)
    return _search(queries, base, k, exclude, backend, chunk, watch)


@dataclass(frozen=True)
class Subset:
    """Some rows of a matrix, ready to be searched by inner product again and again; it finds their ids there.

    Attributes:
        ids: int64 [C], ascending.
        vectors: float32 [C, d].
        place: int64 [N + 1], where an id stands in ``ids`` or -1; the last one is for the id -1.
    """

    ids: Tensor
    vectors: Tensor
    place: Tensor

    @classmethod
    def of(cls, base: Tensor, ids: Tensor) -> Subset:
        """The rows ``ids`` int64 [C] (in any order, repeats count once) of ``base`` float [N, d].

        Raises:
            InputError: see :func:`check_ids`.
        """
        check_ids(ids, len(base), "among")
        ids = torch.unique(ids.to(base.device))
        place = torch.full((len(base) + 1,), -1, device=base.device)
        place[ids] = torch.arange(len(ids), device=base.device)
        return cls(ids, base[ids], place)

    def search(
        self, queries: Tensor, k: int, exclude: Ragged | None = None, backend: Backend = "torch", chunk: int = BLOCK
    ) -> tuple[Tensor, Tensor]:
        """:func:`topk` among these rows; ``exclude`` names ids of the whole matrix."""
        if exclude is not None:
            exclude = Ragged(exclude.indptr, self.place[exclude.items])
        value, found = _search(queries, self.vectors, k, exclude, backend, chunk)
        return value, torch.cat([self.ids, self.ids.new_full((1,), -1)])[found]


@dataclass(frozen=True)
class NeighborTable:
    """The nearest neighbours of every vector, best first: the *near* edges, state of a run and not of the graph.

    Attributes:
        col: int32 [N, k], -1 where there are fewer.
        score: float16 [N, k], 0 where ``col`` is -1.
    """

    col: Tensor
    score: Tensor

    def __len__(self) -> int:
        return len(self.col)

    @classmethod
    def positive(cls, score: Tensor, col: Tensor) -> NeighborTable:
        """Of neighbours int64 [N, k], best first, those whose ``score`` float [N, k] is above 0."""
        col = torch.where(score > 0, col, -1)
        return cls(col.to(torch.int32), score.clamp(min=0).to(torch.float16))


def neighbors(
    vectors: Tensor, k: int, metric: Metric = "cosine", exclude_self: bool = True, watch: Watch | None = None
) -> NeighborTable:
    """The ``k`` nearest of ``vectors`` float [N, d] for each of them, without itself unless ``exclude_self=False``;
    for ``watch`` see :func:`topk`."""
    own = torch.arange(len(vectors) + 1, device=vectors.device)
    left_out = Ragged(own, own[:-1]) if exclude_self else None
    score, col = topk(vectors, vectors, k, metric, exclude=left_out, watch=watch)
    half = torch.finfo(torch.float16)
    score = torch.where(col >= 0, score.clamp(half.min, half.max), 0.0)
    return NeighborTable(col.to(torch.int32), score.to(torch.float16))


def check_ids(ids: Any, n: int, argument: str) -> None:
    """Refuse what does not name rows of a matrix of ``n``.

    Raises:
        InputError: no tensor, no integers (a mask of booleans, for one), or some outside of 0 to ``n`` - 1.
    """
    if not isinstance(ids, Tensor):
        raise InputError(argument, "ids as a tensor, int64 [C]", type(ids).__name__, "pass torch.tensor(...) of them")
    if ids.dtype != torch.int64 or ids.dim() != 1:
        remedy = "pass ids; a mask becomes ids by mask.nonzero()[:, 0]"
        raise InputError(argument, "ids, int64 [C]", f"{ids.dtype} {list(ids.shape)}", remedy)
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= n):
        got = f"{int(ids.min())} to {int(ids.max())}"
        raise InputError(argument, f"ids from 0 to {n - 1}", got, "leave out those that do not exist")


def check_queries(queries: Any, dim: int, k: Any, metric: str) -> None:
    """Refuse a search that cannot be answered over vectors of width ``dim``.

    Raises:
        InputError: k is no whole number from 1 on, an unknown metric, queries of another shape.
    """
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise InputError("k", "a whole number of at least 1", repr(k), "ask for one neighbour or more")
    if metric not in get_args(Metric):
        raise InputError("metric", "'ip' or 'cosine'", repr(metric), "pass one of them")
    if not isinstance(queries, Tensor):
        remedy = "pass torch.from_numpy(...) or torch.as_tensor(...) of it"
        raise InputError("queries", "a tensor", type(queries).__name__, remedy)
    if queries.dim() not in (2, 3) or queries.shape[-1] != dim:
        shape = f"shape [B, {dim}] or [B, K, {dim}]"
        raise InputError("queries", shape, tuple(queries.shape), "use vectors of the same model")


def check_exclude(exclude: Any, queries: Tensor) -> None:
    """Refuse what does not name ids for every query; None excludes nothing.

    Raises:
        InputError: no :class:`Ragged`, or one of another number of rows than there are ``queries``.
    """
    if exclude is None:
        return
    if not isinstance(exclude, Ragged):
        remedy = "pass micgraph.knn.Ragged(indptr, items), two int64 tensors"
        raise InputError("exclude", "ids of each query as a Ragged", type(exclude).__name__, remedy)
    if exclude.n_rows != len(queries):
        expected = f"{len(queries)} rows, one a query"
        raise InputError("exclude", expected, exclude.n_rows, "give queries without such ids an empty row")


def prepare(vectors: Tensor, metric: str) -> Tensor:
    """Vectors float32 whose inner products are the metric."""
    vectors = vectors.detach().float()
    return normalize(vectors, dim=-1) if metric == "cosine" else vectors


def pad(value: Tensor, ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Scores and ids [B, up to k] widened to [B, k]; the id is -1 wherever the score is -inf."""
    room = (0, k - ids.shape[1])
    value = torch.nn.functional.pad(value, room, value=-torch.inf)
    ids = torch.nn.functional.pad(ids, room, value=-1)
    return value, torch.where(value > -torch.inf, ids, -1)


def _search(
    queries: Tensor,
    base: Tensor,
    k: int,
    exclude: Ragged | None,
    backend: Backend,
    chunk: int,
    watch: Watch | None = None,
) -> tuple[Tensor, Tensor]:
    """The ``k`` best by inner product of what is prepared and checked."""
    if backend == "faiss":
        exactly = Exactly(base) if queries.dim() == 3 else None
        return fetch(flat_index(base, "backend"), queries, len(base), k, exclude, exactly)
    parts = []
    for start, stop in _blocks(queries, len(base), chunk):
        left_out = None if exclude is None else exclude.rows(start, stop)
        parts.append(pad(*_best(_scores(queries[start:stop], base, left_out), k), k))
        if watch is not None:
            watch(stop - start)
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


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
