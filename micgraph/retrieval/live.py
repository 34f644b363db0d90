"""Histories as they are now: a graph's clicks and those that a store has learned since, merged when they are read.

**The rule.** A history is the clicks of the graph's row and the events of the store, each once, in the order of time.
An event of the store that the row has, the same item in the same second, is that click and not another: a log that is
appended to the graph later doubles nothing, and nothing need be cleared. Of equal seconds the graph's clicks come
first, then the store's in their own order (microsecond, item). So a late event lands where it belongs, and a store that
has forgotten old events, or is new, takes nothing away. The store keeps ``size`` events a user; the graph keeps all.

**Reads.** A request reads the store twice at the most: those who are asked about, then all of their similar users,
while items are searched. A store that cannot be read, or not in time, is not asked again by the same request: its
channels read the graph alone, and the lists are marked degraded.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.graph.times import SECOND, date_text
from micgraph.ids import IdMap, as_array, kind_of
from micgraph.knn import Ragged
from micgraph.retrieval import frames
from micgraph.retrieval.observing import events_of, first_unknown
from micgraph.retrieval.seldom import Seldom
from micgraph.retrieval.stages import Stage
from micgraph.schema import CLICKS, InputError, StoreError
from micgraph.stores.contract import Store
from micgraph.stores.keys import item_keys, user_keys
from micgraph.stores.numbers import ItemNumbers

TIMEOUT = 1.0
"""Seconds that a request waits for one read of the store."""
_THREADS = 32
_ALL = np.iinfo(np.int64).max
AHEAD = 86_400 * SECOND
"""Clicks that are so much later than now are told of: their time is likely wrong, but a replay may be of any time."""
_LOG = logging.getLogger(__name__)
Int64s = NDArray[np.int64]


class People(NamedTuple):
    """Those who are asked about.

    Attributes:
        ids: [B], external ids.
        number: int64 [B], the graph's number, -1 for those whom the store alone knows.
        histories: B rows, with times.
    """

    ids: pa.Array
    number: Tensor
    histories: Ragged


class LiveHistories:
    """A store of live clicks beside a graph; for many threads.

    Args:
        graph: the clicks so far, with external ids.
        store: whose clicks come to them; who opened it closes it.
        timeout: seconds to wait for one read.
        seldom: tells of reads that fail.

    Raises:
        InputError: no store, no such timeout, a graph that does not say when clicks were, or two items of one key.
    """

    def __init__(self, graph: RecGraph, store: Any, timeout: float = TIMEOUT, seldom: Seldom | None = None) -> None:
        if not isinstance(store, Store):
            got, remedy = f"a {type(store).__name__}", "pass LmdbStore(path) or RedisStore(url)"
            raise InputError("store", "a store of live histories", got, remedy)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
            raise InputError("store_timeout", "seconds above 0", repr(timeout), "pass a number of seconds")
        self.store: Store = store
        self.timeout, self.seldom, self._strange = float(timeout), seldom or Seldom(_LOG), Seldom(_LOG)
        self._ahead = Seldom(_LOG)
        self._readers = ThreadPoolExecutor(_THREADS, "store")
        self._bind(graph)

    def _bind(self, graph: RecGraph) -> None:
        from micgraph.retrieval.merge_kernel import Clicks

        clicks = graph.relation(CLICKS).to("cpu")
        if clicks.time is None:
            raise InputError("store", "a graph that says when clicks were", "one without times", "build it from a log")
        assert graph.users is not None and graph.items is not None
        self.users: IdMap = graph.users
        self.items: IdMap = graph.items
        self.epoch, self.n_items = graph.epoch, graph.n_items
        self._clicks = Clicks(clicks.indptr.numpy(), clicks.col.numpy(), clicks.time.numpy())
        self._numbers = ItemNumbers(item_keys(graph.items.values))

    def beside(self, graph: RecGraph) -> LiveHistories:
        """The same store beside another graph."""
        other = copy(self)
        other._bind(graph)
        return other

    def observe(self, users: Any, items: Any, timestamps: Any) -> None:
        """See :meth:`micgraph.Recommender.observe`."""
        events = events_of(users, items, timestamps, self.users, self.items)
        self.store.append(*events)
        if late := int((events.timestamps > time.time() * SECOND + AHEAD).sum()):
            self._ahead.warn(
                f"observed: {late:,} of {len(events.timestamps):,} clicks are more than a day ahead of this machine's "
                f"clock (the last at {date_text(int(events.timestamps.max()))}): until then they stay the latest of "
                "their users"
            )
        if strange := int((self._numbers.find(events.items) < 0).sum()):
            self._strange.warn(
                f"observed: {strange:,} of {len(events.items):,} clicks are on items that the graph does not know "
                f"(such as {first_unknown(items, self.items)!r}); they are kept, and count once add_items or a refresh "
                "has made the items known"
            )

    def request(self) -> Reading:
        """The reads of one request."""
        return Reading(self)

    def ask(self, keys: list[bytes]) -> Future[Ragged]:
        """Have the events of each key read, by another thread."""
        return self._readers.submit(self.store.read, keys)

    def take(self, answer: Future[Ragged]) -> Ragged:
        """What was read: numbers of items and seconds since the graph's epoch.

        Raises:
            StoreError: out of reach, or not there in time, which is counted from now on.
        """
        try:
            found = answer.result(self.timeout)
        except TooLate as error:
            answer.cancel()
            remedy = "see whether the store's machine is busy, or allow a longer store_timeout"
            got = f"nothing in {self.timeout:g} s"
            raise StoreError(self.store.name, "an answer in time", got, remedy) from error
        assert found.time is not None
        numbers = torch.from_numpy(self._numbers.find(found.items.numpy()))
        return Ragged(found.indptr, numbers, found.time.div(SECOND, rounding_mode="floor") - self.epoch)

    def merged(self, number: Int64s, live: Ragged, size: int | None = None, unknown: bool = True) -> Ragged:
        """The clicks of users int64 [B] (-1: the graph has none) and B rows of live ones, by the rule.

        Args:
            size: the latest so many of each; all by default.
            unknown: whether clicks on items that the graph does not know come too, as -1.
        """
        from micgraph.retrieval import merge_kernel

        assert live.time is not None
        new = merge_kernel.Clicks(live.indptr.numpy(), live.items.numpy(), live.time.numpy())
        made = merge_kernel.room(number, self._clicks, new)
        end = merge_kernel.merge(number, self._clicks, new, _ALL if size is None else size, unknown, made)
        indptr, items, time = (torch.from_numpy(part) for part in made)
        return Ragged(indptr, items[:end], time[:end])


class Reading:
    """What one request reads of a store; after a read that fails it reads the graph alone.

    Attributes:
        error: why the store could not be read, or None.
    """

    def __init__(self, live: LiveHistories) -> None:
        self._live = live
        self.error: StoreError | None = None

    @Stage("store")
    def people(self, users: Any, remedy: str) -> People:
        """Users of the graph or of the store, with their histories.

        Raises:
            UnknownIdError: somebody whom neither knows.
            StoreError: the store cannot be read, and the graph knows none of them.
        """
        live, given = self._live, frames.as_list(users)
        ids = as_array(given)
        number = live.users.index(ids)
        if not len(ids) or ids.null_count or kind_of(ids.type) != live.users.kind:
            frames.known(live.users, given, "users", remedy)  # which tells what is wrong with them
        found = self._read(user_keys(ids))
        stranger = number < 0
        if found is None:
            if stranger.all() and self.error is not None:
                raise self.error
            found = _nothing(len(ids))
        elif (stranger := stranger & (found.indptr.diff() == 0).numpy()).any():
            frames.known(live.users, ids.filter(pa.array(stranger)), "users", remedy)
        known = live.users.ids(number) if (number >= 0).all() else ids
        return People(known, torch.from_numpy(number), live.merged(number, found))

    @Stage("store")
    def latest(self, users: Tensor, size: int) -> Callable[[], Relation | None]:
        """Begin to read the latest clicks of users of the graph, int64 [R].

        Returns:
            Gives them when they are there, as R rows; None where the store adds nothing.
        """
        number = users.cpu().numpy()
        answer = self._ask(user_keys(self._live.users.ids(number))) if len(number) else None

        @Stage("store")
        def taken() -> Relation | None:
            found = self._take(answer)
            if found is None or not len(found.items):
                return None
            rows = self._live.merged(number, found, size, unknown=False)
            return Relation(rows.indptr, rows.items.to(torch.int32), self._live.n_items).to(users.device)

        return taken

    def _read(self, keys: list[bytes]) -> Ragged | None:
        return self._take(self._ask(keys))

    def _ask(self, keys: list[bytes]) -> Future[Ragged] | None:
        return self._live.ask(keys) if self.error is None else None

    def _take(self, answer: Future[Ragged] | None) -> Ragged | None:
        if answer is None:
            return None
        try:
            return self._live.take(answer)
        except StoreError as error:
            self.error = error
            self._live.seldom.warn(f"live clicks could not be read, lists are degraded: {error}")
            return None


def _nothing(n: int) -> Ragged:
    empty = torch.zeros(0, dtype=torch.int64)
    return Ragged(torch.zeros(n + 1, dtype=torch.int64), empty, empty)
