"""The stores of MIC 2.2 and the three channels over them, by internal index: from histories to fused lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from copy import copy
from functools import cached_property, partial
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from micgraph.graph.fields import Fields, take
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.knn import IndexConfig, Metric, NeighborTable, Ragged, VectorIndex, neighbors, require
from micgraph.progress import progress_bar
from micgraph.retrieval.autoencoder import announced
from micgraph.retrieval.blending import Asked, Blender
from micgraph.retrieval.channels import CHANNELS, I2I, U2I, U2U, Allowed, Channel, ChannelName, Queries
from micgraph.retrieval.contracts import RetrievalModel, check_items
from micgraph.retrieval.extra import OWN, Extra, laid_out
from micgraph.retrieval.fusion import Fused, FusionConfig, Lists, fuse, refuse_own
from micgraph.retrieval.histories import latest
from micgraph.retrieval.learned import LearnedFusion
from micgraph.retrieval.linear import following
from micgraph.retrieval.live import LiveHistories, Reading
from micgraph.retrieval.neighbor_tables import strongest
from micgraph.retrieval.own_lists import fill, in_order
from micgraph.retrieval.pool import Pool, merge
from micgraph.retrieval.stages import Stage
from micgraph.schema import CLICKS

T = TypeVar("T")

BATCH = 256
"""Users at a time: with the paper's sizes some 4,100 candidates each."""


class Retriever:
    """User store, item store, interaction store and the channels that read them.

    Vectors and tables are computed when they are first needed, and kept with the model until its weights change: a
    second retriever of the same model and graph finds them there.

    Args:
        model: encodes histories and items.
        graph: what happened.
        config: sizes and weights.
        learned: the fitted model, for ``config.fusion == "learned"``.
        stored: vectors and tables by name, as :meth:`tensors` gave them, to use instead of computing them.
        structures: the folder where :meth:`write_structures` wrote those of the indexes of ``stored``.

    Attributes:
        live: the store beside the graph, or None.
        reading: what the request that this retriever is for reads of it, or None.
        added: how many items, the last ones, were added to what was built and trained.

    Raises:
        ConfigError: ``config.index`` is ``"faiss_gpu"`` and there is no GPU.
        InputError: the model was made for another graph.
        MissingExtraError: ``config.index`` is FAISS's and faiss is not installed.
    """

    def __init__(
        self,
        model: RetrievalModel,
        graph: RecGraph,
        config: FusionConfig,
        learned: LearnedFusion | None = None,
        stored: dict[str, Tensor] | None = None,
        structures: Path | None = None,
    ) -> None:
        require(config.index, "fusion.index")
        check_items(model, graph.n_items)
        self.model, self.graph, self.config, self.learned = model, graph, config, learned
        self.device = torch.device(model.device)
        self._stored = {name: value.to(self.device) for name, value in (stored or {}).items()}
        self._structures = structures
        self._lock, self._made = RLock(), dict[Any, Any]()
        self.live: LiveHistories | None = None
        self.reading: Reading | None = None
        self.added = 0
        self.clicks: Relation = graph.relation(CLICKS).to(self.device)
        self.category = graph.category.to(self.device)
        popularity = graph.popularity().to(self.device)
        self.popular = torch.sort(popularity, descending=True, stable=True).indices

    def with_config(self, config: FusionConfig) -> Retriever:
        """The same stores with other settings; what these make otherwise is made anew when it is needed."""
        other, had = copy(self), self.config
        other.config = config
        if any(getattr(config, name) != getattr(had, name) for name in ("neighbors", "m3", "follow_window", "decay")):
            other.__dict__.pop("table", None)
            other._stored = {name: x for name, x in self._stored.items() if name not in ("col", "score")}
        if any(getattr(config, name) != getattr(had, name) for name in ("index", "item_index", "user_index")):
            other._structures = None
            for name in ("index", "users", "blender"):
                other.__dict__.pop(name, None)
        return other

    def for_request(self) -> Retriever:
        """The same stores for one request, which reads live clicks where there are any; this one reads the graph's."""
        if self.live is None:
            return self
        _ = self.blender  # made here, and not again for every request
        other = copy(self)
        other.reading = self.live.request()
        return other

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is computed once: vectors of items and users, the neighbour table."""
        table = self.table
        named = {"search": self.index.vectors, "items": self.items, "users": self.users.vectors}
        return {**named, "col": table.col, "score": table.score}

    def write_structures(self, folder: Path) -> None:
        """Write what the indexes of items and users are beside their vectors, if anything, to the new ``folder``."""
        folder.mkdir()
        self.index.write_structure(folder / "items.faiss")
        self.users.write_structure(folder / "users.faiss")

    @cached_property
    def index(self) -> VectorIndex:
        """Item store: the search vectors of all items."""

        def make() -> VectorIndex:
            search = self._stored["search"] if "search" in self._stored else self.model.item_vectors()[0]
            return self._indexed(search, cast(Metric, self.model.metric), self.config.item_index, "items.faiss")

        return self._once(("index", self.config.index, self.config.item_index), make)

    @cached_property
    def items(self) -> Tensor:
        """The items' own vectors, float32 [N, d']."""
        return self._stored["items"] if "items" in self._stored else self.model.item_vectors()[1].detach().float()

    @cached_property
    def users(self) -> VectorIndex:
        """User store: the own vectors [U, d'] of the graph's users."""

        def make() -> VectorIndex:
            vectors = self._stored["users"] if "users" in self._stored else self.encode_users()
            return self._indexed(vectors, "cosine", self.config.user_index, "users.faiss")

        return self._once(("users", self.config.index, self.config.user_index), make)

    def _indexed(self, vectors: Tensor, metric: Metric, settings: IndexConfig, name: str) -> VectorIndex:
        """An index of the config's kind, of the structure called ``name`` where that was stored."""
        stored = None if self._structures is None else self._structures / name
        return VectorIndex(vectors, metric, self.config.index, settings, stored)

    @cached_property
    def table(self) -> NeighborTable:
        """The neighbours that I2I reads, as ``config.neighbors`` says."""
        kind, size = self.config.neighbors, self.config.m3
        ahead, decay = self.config.follow_window, self.config.decay

        def make() -> NeighborTable:
            if "col" in self._stored:
                return NeighborTable(self._stored["col"], self._stored["score"])
            if kind == "near":
                with progress_bar(total=len(self.items), desc="neighbours of items") as bar:
                    return neighbors(self.items, size, "cosine", watch=bar.update)
            if kind == "follows":
                return following(self.clicks, ahead, decay, size)
            if kind == "ease":
                return announced(self.clicks, size)
            return strongest(self.graph.relation(kind).to(self.device), size)

        return self._once(("table", kind, size, *((ahead, decay) if kind == "follows" else ())), make)

    def _once(self, name: tuple[Any, ...], make: Callable[[], T]) -> T:
        """What ``make`` gives, once for all threads, kept with the model for this graph (what was stored with a
        recommender is its own)."""
        kept = self._made if self._stored else self.model.derived
        with self._lock:
            if name not in kept or kept[name][0] is not self.graph:
                kept[name] = (self.graph, make())
            return cast(T, kept[name][1])

    def encode_users(self) -> Tensor:
        """The own vectors [U, d'] of the graph's users, computed now; :attr:`users` keeps them."""
        everyone = torch.arange(self.graph.n_users, device=self.device)
        histories = Ragged(self.clicks.indptr, self.clicks.col.long(), self.clicks.time)
        own = []
        with progress_bar(total=len(everyone), desc="vectors of users") as bar:
            for queries in self.encode(histories, everyone):
                own.append(queries.own.float())
                bar.update(len(own[-1]))
        return torch.cat(own)

    def allow(self, ids: Tensor) -> Allowed:
        """The items ``ids`` int64 [C] as the only ones that may be recommended: made once for all batches."""
        return Allowed.of(self.index, ids.to(self.device))

    def encode(
        self,
        histories: Ragged,
        users: Tensor,
        fields: Fields | None = None,
        exclude: Ragged | None = None,
        only: Ragged | None = None,
    ) -> Iterator[Queries]:
        """Encode users batch by batch.

        Args:
            histories: whole histories, oldest first; -1 is an unknown item.
            users: int64 [B], -1 for somebody unknown.
            fields: user features to read instead of the graph's, B nodes.
            exclude: items that each user must not get.
            only: the only items that each user may get, ascending, each once; all by default.
        """
        histories, users = histories.to(self.device), users.to(self.device)
        exclude, only = (None if lists is None else lists.to(self.device) for lists in (exclude, only))
        for start in range(0, len(users), BATCH):
            stop = min(start + BATCH, len(users))
            rows = histories.rows(start, stop)
            at = torch.arange(start, stop)
            own_fields = None if fields is None else {n: f.to(self.device) for n, f in take(fields, at).items()}
            history, mask, gap = latest(rows, self.model.history)
            with Stage("tower"):
                search, own = self.model.encode_queries(history, mask, users[start:stop], own_fields, gap)
            limits = [None if lists is None else lists.rows(start, stop) for lists in (exclude, only)]
            known = (users[start:stop] >= 0) | (mask & (history >= 0)).any(1) if fields is None else None
            clicked = (history, mask) if self.config.m == self.model.history else latest(rows, self.config.m)[:2]
            yield Queries(*clicked, users[start:stop], search, own, limits[0], known, limits[1])

    @cached_property
    def blender(self) -> Blender | None:
        """The compiled loops from candidates to lists; None on a device that has tensor programs for it alone."""
        return Blender(self.index, self.category) if self.device.type == "cpu" else None

    def ways(self, channels: Collection[ChannelName], k: int) -> dict[ChannelName, Channel]:
        """These channels, for lists of ``k`` items."""
        config = self.config
        ways: dict[ChannelName, Channel] = {}
        if "u2i" in channels:
            ways["u2i"] = U2I(self.index, max(config.k1, k))
        if "u2u" in channels:
            live = None if self.reading is None else self.reading.latest
            ways["u2u"] = U2U(self.users, self.clicks, config.m1, config.m2, live)
        if "i2i" in channels:
            ways["i2i"] = I2I(self.table, config.m, config.decay)
        if own := [name for name in channels if name not in CHANNELS]:
            if config.fusion == "learned":
                refuse_own(own)
            ways |= {name: self._once(("channel", name, OWN[name]), partial(Extra.of, name, self)) for name in own}
        return ways

    def pool(self, queries: Queries, channels: Collection[ChannelName], allowed: Allowed | None, k: int) -> Pool:
        """The distinct candidates of these channels."""
        return merge({name: way.find(queries, allowed) for name, way in self.ways(channels, k).items()})

    def fused(self, queries: Queries, k: int, channels: Collection[ChannelName], allowed: Allowed | None) -> Fused:
        """What the channels bring, as one list: by compiled loops on the CPU, by tensor programs elsewhere and where
        channels of a user's own are asked."""
        names = laid_out(channels)
        if self.blender is not None and names == CHANNELS:
            asked = Asked(self.ways(channels, k), queries, k, allowed)
            return self.blender.blend(asked, self.config, self.learned)
        pool = self.pool(queries, channels, allowed, k)
        return fuse(pool, queries.search, self.index, self.category, k, self.config, self.learned, names)

    @Stage("fusion")
    def lists(
        self,
        queries: Queries,
        k: int,
        channels: Collection[ChannelName] | None = None,
        allowed: Allowed | None = None,
    ) -> Lists:
        """The ``k`` best items of each user.

        Args:
            channels: the channels to read; those of the config by default.
            allowed: which items may be recommended, from :meth:`allow`; all by default.
        """
        channels = self.config.channels if channels is None else channels
        fused = self.fused(queries, k, channels, allowed)
        items = fill(fused.items, self._popular(queries, allowed), queries.exclude)
        asked = [fused.names.index(name) for name in channels]
        silent = (fused.found[:, asked] == 0).any(1)
        failed = self.reading is not None and self.reading.error is not None
        return Lists(fused, items, silent | (fused.items < 0).any(1) | failed)

    def _popular(self, queries: Queries, allowed: Allowed | None) -> Tensor:
        """What may fill up lists, the most clicked first: int64 [C], or [B, C] with -1 behind where users differ."""
        if queries.only is not None:
            return in_order(queries.only, self.popular)
        return self.popular if allowed is None else self.popular[allowed.mask[self.popular]]
