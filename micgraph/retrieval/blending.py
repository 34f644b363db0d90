"""Candidates of many users to lists on the CPU, by compiled loops, users shared among threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.knn import Ragged, VectorIndex
from micgraph.retrieval.channels import CHANNELS, I2I, U2I, U2U, Allowed, Channel, ChannelName, Clicked, Queries
from micgraph.retrieval.fusion import Fused, FusionConfig, fitted, turns
from micgraph.retrieval.learned import FEATURES, LearnedFusion
from micgraph.retrieval.pool import Trigger

if TYPE_CHECKING:
    from micgraph.retrieval.blend_arrays import Found, Lists, Room, Rule, Stores

KINDS = ("mic", "learned", "rrf", "quotas")
"""Fusions in the order of the numbers that the loops know them by."""
ROWS = 32
"""Users a thread takes at least: fewer are not worth a thread."""


@dataclass(frozen=True)
class Asked:
    """Who is asked about, and what may come: B users, ``k`` places, and the channels that answer."""

    ways: Mapping[ChannelName, Channel]
    queries: Queries
    k: int
    allowed: Allowed | None = None


class Blender:
    """What the loops read of the items, made once; working memory is kept from call to call.

    The lists are those of :func:`micgraph.retrieval.fusion.fuse` on what :func:`micgraph.retrieval.pool.merge` gives,
    scores to the rounding of sums.

    Args:
        index: the items' search vectors, on the CPU.
        category: int64 [N].
    """

    def __init__(self, index: VectorIndex, category: Tensor) -> None:
        self.cosine = index.metric == "cosine"
        self.vectors, self.category = _array(index.vectors), _array(category.to(torch.int32))
        self.n_categories = int(category.max()) + 1 if len(category) else 1
        self.half = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
        self._rooms: LifoQueue[Room] = LifoQueue()

    def blend(self, asked: Asked, config: FusionConfig, learned: LearnedFusion | None = None) -> Fused:
        """The lists of B users, on up to torch's number of threads.

        Raises:
            ConfigError: ``"learned"`` without a model.
        """
        from micgraph.retrieval import blend_kernel as kernel

        rule = _rule(config, learned, self.cosine)
        nearness, coming = _alike(asked)
        nearest = _nearest(asked)  # while a store reads what similar users clicked
        clicked = coming()
        found, stores = self._found(asked, nearest, nearness, clicked), self._stores(asked, clicked)
        lists = _lists(len(asked.queries), asked.k)
        sizes = _sizes(found, stores)
        batch = len(asked.queries)
        threads = max(1, min(torch.get_num_threads(), batch // ROWS))

        def work(part: int) -> None:
            room = self._room(*sizes)
            begin, end = (batch * at // threads for at in (part, part + 1))
            kernel.blend(begin, end, found, stores, rule, room, lists)
            self._rooms.put(room)

        if threads == 1:
            work(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))
        if clicked is not None and clicked.users is not None:
            brought = lists.source == CHANNELS.index("u2u")
            lists.node[brought] = _array(clicked.users)[lists.node[brought]]
        return _fused(lists)

    def _found(self, asked: Asked, nearest: tuple[Tensor, Tensor], nearness: Tensor, similar: Clicked | None) -> Found:
        from micgraph.retrieval.blend_arrays import Found

        queries, i2i, (score, items) = asked.queries, asked.ways.get("i2i"), nearest
        nothing = torch.zeros(len(queries), 0, dtype=torch.int64)
        alike = nothing if similar is None else similar.rows
        clicked = i2i.clicked(queries) if isinstance(i2i, I2I) else nothing
        search = queries.search.float()
        search = search if search.dim() == 3 else search[:, None]
        arrays = map(_array, (items, score.float(), alike, nearness.float(), clicked, search, search.norm(dim=-1)))
        return Found._make((*arrays, *_csr(queries.exclude), *_csr(queries.only)))

    def _stores(self, asked: Asked, similar: Clicked | None) -> Stores:
        from micgraph.retrieval.blend_arrays import Stores

        u2u, i2i = asked.ways.get("u2u"), asked.ways.get("i2i")
        indptr, col, m2 = np.zeros(1, np.int64), np.zeros(0, np.int32), 0
        if isinstance(u2u, U2U) and similar is not None:
            indptr, col, m2 = _array(similar.clicks.indptr), _array(similar.clicks.col), u2u.m2
        near, bits, fading = np.zeros((0, 0), np.int32), np.zeros((0, 0), np.uint16), np.zeros(0, np.float32)
        if isinstance(i2i, I2I):
            near, bits = _array(i2i.table.col), _array(i2i.table.score).view(np.uint16)
            fading = _array(i2i.fading().float())
        allowed = np.zeros(0, bool) if asked.allowed is None else _array(asked.allowed.mask)
        return Stores(indptr, col, m2, near, bits, self.half, fading, self.vectors, self.category, allowed)

    def _room(self, candidates: int, slots: int) -> Room:
        """Working memory that is large enough: what another call has left, or new."""
        try:
            room = self._rooms.get_nowait()
        except Empty:
            return _new_room(candidates, slots, self.n_categories)
        fits = len(room.whole) >= candidates and len(room.table) >= slots
        return room if fits else _new_room(candidates, slots, self.n_categories)


def _nearest(asked: Asked) -> tuple[Tensor, Tensor]:
    """Scores and items [B, k1] of U2I; none where it is not asked."""
    u2i, size = asked.ways.get("u2i"), len(asked.queries)
    if isinstance(u2i, U2I):
        return u2i.near(asked.queries, asked.allowed)
    return torch.zeros(size, 0), torch.zeros(size, 0, dtype=torch.int64)


def _alike(asked: Asked) -> tuple[Tensor, Callable[[], Clicked | None]]:
    """How near similar users are, float32 [B, m1], and what gives their clicks; none where U2U is not asked."""
    u2u = asked.ways.get("u2u")
    if not isinstance(u2u, U2U):
        return torch.zeros(len(asked.queries), 0), lambda: None
    nearness, alike = u2u.alike(asked.queries)
    return nearness, u2u.begin(alike)


def _new_room(candidates: int, slots: int, n_categories: int) -> Room:
    from micgraph.retrieval.blend_arrays import REAL, WHOLE, Room

    c = candidates
    value = np.zeros(c, np.float32)
    return Room(
        table=np.zeros((slots, 2), np.int32),
        whole=np.zeros((c, WHOLE), np.int32),
        real=np.zeros((c, REAL), np.float32),
        held=np.zeros((3, c), bool),
        packed=np.zeros(c, np.uint64),
        value=value,
        bits=value.view(np.uint32),
        group=np.zeros(c, np.int64),
        spot=np.full(n_categories, -1, np.int64),
        start=np.zeros(c, np.int64),
        size=np.zeros(c, np.int64),
        front=np.zeros(c, np.float32),
        taken=np.zeros(c, np.float32),
        total=np.zeros(c, np.float32),
        order=np.zeros((3, c), np.int64),
    )


def _sizes(found: Found, stores: Stores) -> tuple[int, int]:
    """The most candidates of a user, and the slots of a table with room for them and for what is noted of others."""
    candidates = found.items.shape[1] + found.alike.shape[1] * stores.m2
    candidates += found.clicked.shape[1] * stores.near.shape[1]
    noted = sum(int(np.diff(indptr).max(initial=0)) for indptr in (found.start, found.first))
    return max(candidates, 1), 1 << (3 * (candidates + noted) // 2 + 2).bit_length()


def _rule(config: FusionConfig, learned: LearnedFusion | None, cosine: bool) -> Rule:
    from micgraph.retrieval.blend_arrays import Rule

    weight, bias = np.zeros(len(FEATURES), np.float32), 0.0
    if config.fusion == "learned":
        model = fitted(learned)
        for name, mean, scale, w in zip(model.names, model.mean, model.scale, model.weight, strict=True):
            weight[FEATURES.index(name)] = w / scale
            bias -= mean * w / scale
    single = (np.float32(x) for x in (config.lambda_mic, config.lambda_div, config.rrf_constant))
    flags = (config.basic == "score", cosine, config.count_scale == "log")
    cuts = (config.k2 or 0, config.k3 or 0)
    quotas = np.array(turns(config.quotas), np.float64)
    return Rule._make((KINDS.index(config.fusion), *flags, *single, *cuts, weight, np.float32(bias), quotas))


def _lists(batch: int, k: int) -> Lists:
    """Lists without anything in them."""
    from micgraph.retrieval.blend_arrays import Lists

    shape, wide = (batch, k), (batch, len(CHANNELS), k)
    return Lists(
        items=np.full(shape, -1, np.int64),
        score=np.full(shape, -np.inf, np.float32),
        basic=np.zeros(shape, np.float32),
        base=np.zeros(shape, np.float32),
        share=np.zeros(shape, np.float32),
        counts=np.zeros(wide, np.int64),
        place=np.full(wide, -1, np.int64),
        weight=np.zeros(wide, np.float32),
        held=np.zeros(wide, bool),
        source=np.zeros(shape, np.int64),
        node=np.full(shape, -1, np.int64),
        similarity=np.zeros(shape, np.float32),
        found=np.zeros((batch, len(CHANNELS)), np.int64),
    )


def _fused(lists: Lists) -> Fused:
    made: dict[str, Any] = {name: torch.from_numpy(value) for name, value in lists._asdict().items()}
    trigger = Trigger(made.pop("source"), made.pop("node"), made.pop("similarity"))
    count = made.pop("counts")
    return Fused(**made, count=count, trigger=trigger)


def _csr(lists: Ragged | None) -> tuple[NDArray[Any], NDArray[Any]]:
    if lists is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return _array(lists.indptr), _array(lists.items)


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().contiguous().numpy()
