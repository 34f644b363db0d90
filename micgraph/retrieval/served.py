"""What a recommender serves at the moment, and what changes it while requests come: clicks, new items, a refresh."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

from micgraph.graph.recgraph import RecGraph
from micgraph.ids import IdMap
from micgraph.retrieval import frames
from micgraph.retrieval.asking import graph_ids
from micgraph.retrieval.live import LiveHistories
from micgraph.retrieval.retriever import Retriever
from micgraph.retrieval.saving import ModelLoader
from micgraph.schema import InputError
from micgraph.stores.contract import Store


class Served:
    """What :class:`micgraph.Recommender` asks: a retriever, with a store of live clicks or without.

    A change makes another retriever and ends in one assignment to ``retriever``; a request reads that once. So each
    request sees what was there before a change or what is there after it, and no mixture.
    """

    def _open(self, retriever: Retriever, store: Store | None, store_timeout: float) -> None:
        graph_ids(retriever.graph)
        if store is not None:
            retriever.live = LiveHistories(retriever.graph, store, store_timeout)
        self.retriever, self._adding = retriever, Lock()

    @property
    def graph(self) -> RecGraph:
        """What is served: the run's graph, with the items that were added."""
        return self.retriever.graph

    @property
    def users(self) -> IdMap:
        """The graph's users."""
        return graph_ids(self.graph)[0]

    @property
    def items(self) -> IdMap:
        """The graph's items, and those that were added."""
        return graph_ids(self.graph)[1]

    def observe(self, users: Any, items: Any, timestamps: Any) -> None:
        """Keep clicks in the store: the next recall of these users reflects them, and that of similar users.

        An event that is observed again, the same user, item and microsecond, changes nothing, and order of arrival does
        not matter. A store keeps the latest so many events a user; all of a user who is new; of items, also those that
        the graph does not know (yet), of which a warning tells at most once a minute,
        and another one of times more than a day ahead.

        Args:
            users: one id, or a list, array or series of E; ids of the graph's kind, known or not.
            items: the same.
            timestamps: when it was: ISO text, dates, datetimes (UTC where no zone is given), of pandas, NumPy, polars
                and Arrow too; or numbers, which are seconds since 1970. One, or E.

        Raises:
            InputError: no store, no event, lengths that differ, nulls, empty texts, ids of another kind, or no point in
                time; the error names the row, and nothing is kept.
            StoreError: closed, full, out of reach or too slow. Some of the events may be there: observe them again.
        """
        live = self.retriever.live
        if live is None:
            remedy = "open the recommender with store=LmdbStore(path) or RedisStore(url)"
            raise InputError("store", "a recommender with a store", "one without", remedy)
        live.observe(users, items, timestamps)

    def add_items(self, items: Any) -> int:
        """Serve new items without training: from their fields or embeddings, as the item tower knows them.

        They get vectors (those of a graph with ``keep_unclicked``), places in the index, and neighbours, see
        :mod:`micgraph.retrieval.arrivals`; clicks on them may have been observed before. :meth:`save` keeps them.
        Vectors and tables are copied, which takes the longer the more items there are: add many at once.

        Args:
            items: a table (pandas, polars, Arrow, a dict of columns, a list of rows) with ``item_id`` and columns as
                in the table of items that the graph was built with; some may be missing.

        Returns:
            How many were added.

        Raises:
            SchemaError: no ``item_id``, another column or type than the graph has, or a value that cannot be read.
            InputError: no row, a null or repeated id, or one that is known; nothing is added.
        """
        from micgraph.retrieval.arrivals import with_items

        table = frames.table_of(items, "items")
        if not table.column_names:
            raise InputError("items", "at least one row", "none", "pass the rows of the new items")
        with self._adding:
            self.retriever = with_items(self.retriever, table)
        return len(table)

    def reload(self, version: Served | str | Path, load_model: ModelLoader | None = None) -> None:
        """Serve another version from now on, such as the one that :func:`micgraph.refresh` has saved.

        It is read and made ready beside the old one while that answers; then one assignment puts it in its place.
        Requests that have begun end with the old one, which takes memory as long as they last: have room for both.
        Everything is the new version's, its fusion and kind of index too, but for

        - the store: live clicks are read beside the new graph, and those that are in its log count once;
        - items that :meth:`add_items` added and the new version does not know: they are added to it, from their rows.

        Args:
            version: a directory that :meth:`micgraph.Recommender.save` or a refresh wrote; or another recommender,
                which stays as it is, and whose own store is not used.
            load_model: as for :meth:`micgraph.Recommender.load`.

        Raises:
            ArtifactError: nothing that can be loaded there.
            InputError: no version, one whose ids are of another kind, or a graph without times where there is a store.
            SchemaError: the row of an added item does not fit the new version's fields.
                Whatever is raised, the old version goes on.
        """
        from micgraph.retrieval.reloading import ready, succeeding

        found = ready(version, load_model)
        with self._adding:
            self.retriever = succeeding(self.retriever, found)
