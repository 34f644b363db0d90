"""Recommender: external ids in, a frame of recommendations with their reasons out; saved for serving."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from micgraph.retrieval import frames, saving
from micgraph.retrieval.answering import answer, nearest
from micgraph.retrieval.asking import asked_of, fusion_of, graph_ids
from micgraph.retrieval.contracts import HeldOut, TrainedRun
from micgraph.retrieval.explaining import explain
from micgraph.retrieval.fitting import fit_on
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.learned import LearnedFusion
from micgraph.retrieval.live import TIMEOUT
from micgraph.retrieval.retriever import Retriever
from micgraph.retrieval.saving import ModelLoader
from micgraph.retrieval.served import Served
from micgraph.schema import ITEM_ID, USER_ID, InputError
from micgraph.stores.contract import Store

TRAIN_FIRST = "pass the run that micgraph.train or micgraph.load_run returns"


class Recommender(Served):
    """Recommends items to users of the graph, and to anybody who brings a history.

    The rows of :meth:`recommend` have these columns:

    - ``user_id`` (with ``histories``: the number of the list), ``item_id``, ``rank`` from 1;
    - ``score``: Eq. 5, or the learned log-odds in place of its first two terms; null for popular items;
    - ``channels`` that found the item ("u2i,i2i"), or "popular": the channels did not suffice, and the most clicked
      items fill up;
    - ``u2i_score``: the score that U2I ranks by, whichever channel found the item; null for popular items;
    - ``u2u_score``, ``u2u_count``: the sum of the similarities of the users that brought the item, and how often they
      did (a user who clicked it twice counts twice); 0 where none did;
    - ``i2i_score``, ``i2i_count``: the same of the clicks whose neighbour the item is;
    - the same two of each channel of your own that is asked, under its name;
    - ``trigger``: of these users and clicks the most similar one, as text: "item:" or "user:", then its id (so
      ``trigger.split(":", 1)`` gives both); null where nothing but U2I found the item;
    - ``degraded``: this user's list is less than was asked for: a channel had nothing, popular items fill up, or live
      clicks could not be read; :meth:`explain` tells which.

    With a store, a user's history is that of the graph and what :meth:`observe` has added since, merged as
    :mod:`micgraph.retrieval.live` says; users whom the graph does not know are served from their first click. All
    methods may be called from many threads at once: each call sees the items of before or of after an
    :meth:`add_items`, and no mixture.

    Args:
        run: a trained run.
        fusion: sizes and weights instead of the run's, or a mapping of those settings that differ from the run's.
        store: live clicks, an :class:`micgraph.LmdbStore` or :class:`micgraph.RedisStore`; who opened it closes it.
        store_timeout: seconds that a request waits for one read of the store, before it does without.

    Attributes:
        retriever: the stores and channels, by internal index; rankers for evaluation are made of it, and read the
            graph's clicks alone.

    Raises:
        ConfigError: an unknown setting or a value out of range.
        InputError: no run, or its graph was loaded without its external ids; no store, or no such timeout.
        MissingExtraError: the index is FAISS's and faiss is not installed.
    """

    def __init__(
        self,
        run: TrainedRun,
        fusion: FusionConfig | Mapping[str, Any] | None = None,
        store: Store | None = None,
        store_timeout: float = TIMEOUT,
    ) -> None:
        if not hasattr(run, "model"):
            raise InputError("run", "a trained run", f"a {type(run).__name__}", TRAIN_FIRST)
        retriever = Retriever(run.model, run.graph, fusion_of(run.fusion, fusion), run.learned)
        self._open(retriever, store, store_timeout)

    def __repr__(self) -> str:
        config = self.retriever.config
        return f"Recommender({len(self.users):,} users, {len(self.items):,} items, fusion={config.fusion!r})"

    def recommend(
        self,
        users: Any = None,
        k: int = 20,
        histories: Any = None,
        fields: Any = None,
        channels: str | Iterable[str] = "all",
        filter_seen: bool = True,
        candidates: Any = None,
        exclude: Any = None,
    ) -> Any:
        """The ``k`` best items of each user, with the reason for each.

        Args:
            users: ids of users of the graph, or of anybody with live clicks: one, or a list, array or series.
            k: items a user.
            histories: instead of ``users``, one list of item ids (oldest first) a person; a warning counts unknown ids.
                Without any known one, nor ``fields``, U2U and I2I give nothing.
            fields: features of these people, one row each (a table, or encoded fields), instead of the graph's.
            channels: ``"all"`` that the fusion's config names, or one or some of "u2i", "u2u", "i2i" and your own.
            filter_seen: leave out every item of the whole history.
            candidates: the only items that may be recommended: ids for everybody, or one list of ids a user.
            exclude: items that must not be recommended, in either form.

        Returns:
            A frame of the kind of ``users`` or ``histories`` (for lists: pandas where installed, else Arrow), ``k``
            rows a user in order of rank; the class tells its columns. A user to whom the items seen leave fewer than
            ``k`` gets those, marked ``degraded``, and a warning tells who.

        Raises:
            UnknownIdError: a user that neither the graph nor the store knows.
            StoreError: the store could not be read, and the graph knows nobody who was asked for. Otherwise channels
                that need no live clicks answer, ``degraded`` tells, and so does a warning, at most one a minute.
            InputError: both or neither of users and histories, a k beyond what the lists allow, no candidates, an
                unknown channel, features or lists of another number of people.
        """
        retriever = self.retriever.for_request()
        asked = asked_of(retriever, users, k, histories, fields, channels, filter_seen, candidates, exclude)
        columns = answer(retriever, asked, k)
        return frames.frame(columns, frames.frame_kind(users if users is not None else histories))

    async def arecommend(self, *args: Any, **asked: Any) -> Any:
        """:meth:`recommend` in another thread, for asyncio. A call that is cancelled computes to its end, unheard."""
        return await asyncio.to_thread(self.recommend, *args, **asked)

    def explain(self, user: Any, item: Any, k: int = 20, **asked: Any) -> str:
        """Why an item is at its place in a user's list, in words: what each channel says of it, the sum that its score
        is, and why the list is degraded, where it is.

        Args:
            user: the id of a user of the graph; None with ``histories=[[...]]`` of one person.
            item: the id of an item of the list.
            k: the length of the list: a longer one may ask U2I for more.
            asked: what else :meth:`recommend` was called with.

        Raises:
            UnknownIdError: a user or an item that the graph does not know.
            InputError: the item is not in the list, and why; several users; else see :meth:`recommend`.
        """
        return explain(self.retriever.for_request(), user, item, k, **asked)

    def with_fusion(self, fusion: FusionConfig | Mapping[str, Any]) -> Recommender:
        """A recommender of the same stores with another fusion, given as in the constructor.

        Raises:
            ConfigError: an unknown setting or a value out of range.
        """
        rec = type(self).__new__(type(self))
        retriever = self.retriever
        rec._open(retriever.with_config(fusion_of(retriever.config, fusion)), None, TIMEOUT)
        return rec

    def similar_items(self, items: Any, k: int = 10) -> Any:
        """The ``k`` nearest items of each item, by the cosine of their own vectors.

        Args:
            items: one id, or a list, array or series.

        Returns:
            A frame ``item_id, similar_id, rank, score`` of the caller's kind.

        Raises:
            UnknownIdError: an item that the graph does not know.
            InputError: k < 1, or as many as there are items.
        """
        retriever = self.retriever
        ids = graph_ids(retriever.graph)[1]
        index = frames.known(ids, items, "items", "ask for items that were clicked in the log the graph was built from")
        return frames.frame(nearest(index, retriever.items, ids, ITEM_ID, k), frames.frame_kind(items))

    def similar_users(self, users: Any, k: int = 10) -> Any:
        """The ``k`` nearest users of each user, by the cosine of their own vectors.

        Returns:
            A frame ``user_id, similar_id, rank, score``; for the rest see :meth:`similar_items`.
        """
        retriever = self.retriever
        ids = graph_ids(retriever.graph)[0]
        index = frames.known(ids, users, "users", "ask for users of the log that the graph was built from")
        return frames.frame(nearest(index, retriever.users.vectors, ids, USER_ID, k), frames.frame_kind(users))

    def fit_fusion(self, data: HeldOut, filter_seen: bool = True) -> LearnedFusion:
        """Fit the learned fusion on held-out clicks and use it from now on.

        Args:
            data: validation users in the graph's numbers, as :func:`micgraph.evaluation.prepare` gives them.
            filter_seen: fit it for lists without the items of the history.

        Raises:
            InputError: the channels found none of the clicks, or nothing else.
        """
        return fit_on(self.retriever, data, filter_seen)

    def save(self, path: str | Path) -> None:
        """Write everything that recommending needs to the directory ``path``: vectors, tables, graph and model.

        Items that were added are among it; a store of live clicks is not.
        """
        saving.save(self.retriever, path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        load_model: ModelLoader | None = None,
        store: Store | None = None,
        store_timeout: float = TIMEOUT,
    ) -> Recommender:
        """Read what :meth:`save` wrote; nothing is computed again.

        Args:
            load_model: reads the model's folder; by default that of micgraph's own towers.
            store, store_timeout: see the class.

        Raises:
            ArtifactError: missing, damaged, of another kind or format version.
            InputError: no store, or no such timeout.
        """
        rec = cls.__new__(cls)
        rec._open(saving.load(path, load_model), store, store_timeout)
        return rec
