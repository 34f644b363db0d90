"""Clicks replayed as live traffic: a service that learns of each in its time, and is asked before it learns of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tqdm.auto import tqdm

import micgraph as mg

RECENT = 6 * 3600
"""Seconds: what was clicked most in the last so many of a graph goes to people of whom nothing is known."""
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Traffic:
    """Clicks in the order of time.

    Attributes:
        user, item: int64 [E], ids.
        time: int64 [E], milliseconds since 1970.
    """

    user: Ints
    item: Ints
    time: Ints

    @classmethod
    def of(cls, clicks: pa.Table) -> Traffic:
        """The rows of a table with Globo's columns, in the order of time."""
        names = ("user_id", "click_article_id", "click_timestamp")
        user, item, at = (clicks[name].to_numpy().astype(np.int64) for name in names)
        order = np.argsort(at, kind="stable")
        return cls(user[order], item[order], at[order])

    def between(self, start: int, stop: int) -> slice:
        """The clicks at ``start`` or later, and before ``stop``."""
        first, last = np.searchsorted(self.time, [start, stop])
        return slice(int(first), int(last))


class Service:
    """What serves: a recommender that is told of clicks and new articles, and refreshed.

    Args:
        recommender: with a store where it is ``live``.
        traffic: what happens.
        start: the time (ms) until which the recommender's graph knows all clicks.
        tick: milliseconds between two looks for articles that were clicked and that the recommender does not know.
        k: articles a list.
        live: whether it is told of anything.
        refresh: asked each ``tick``, with the time (ms), for what to serve from then on, as
            :meth:`micgraph.Recommender.reload` takes it, or None to go on. None: never refreshed.

    Attributes:
        added: how many articles :meth:`Recommender.add_items` has added.
    """

    def __init__(
        self,
        recommender: mg.Recommender,
        traffic: Traffic,
        start: int,
        tick: int,
        k: int,
        live: bool = True,
        refresh: Callable[[int], Path | None] | None = None,
    ) -> None:
        self._traffic, self._now, self._tick, self._next = traffic, start, tick, start + tick
        self._live, self._refresh, self._k, self.added = live, refresh, k, 0
        self._recommender = recommender
        self._warm_up()

    def _warm_up(self) -> None:
        """Make what a first request would have to wait for, and note what is popular."""
        recommender, graph = self._recommender, self._recommender.graph
        recommender.recommend(recommender.users.ids(np.arange(1)), k=self._k)
        popular = graph.popularity(since=graph.last_time - RECENT).argsort(descending=True, stable=True)
        self.popular = frozenset(recommender.items.ids(popular[: self._k].numpy()).to_pylist())

    def advance(self, now: int) -> None:
        """Let the service know all clicks before ``now`` (ms), and no other."""
        while self._live and self._next <= now:
            self._observe(self._next)
            version = None if self._refresh is None else self._refresh(self._next)
            if version is not None:
                self._recommender.reload(version)
                self._warm_up()
            self._add_new()
            self._next += self._tick
        if self._live:
            self._observe(now)

    def _observe(self, now: int) -> None:
        part = self._traffic.between(self._now, now)
        self._now = now
        if part.start < part.stop:
            at = self._traffic.time[part].astype("datetime64[ms]")
            self._recommender.observe(self._traffic.user[part], self._traffic.item[part], at)

    def _add_new(self) -> None:
        """Serve the articles that were clicked since the last look and that nobody had clicked before."""
        seen = np.unique(self._traffic.item[self._traffic.between(self._next - self._tick, self._next)])
        new = seen[self._recommender.items.index(pa.array(seen)) < 0]
        if len(new):
            self.added += self._recommender.add_items({"item_id": new})

    def ask(self, user: int) -> tuple[frozenset[int], dict[str, float] | None]:
        """The articles for a user, and the seconds of each stage and of the ``request``; None of these for somebody of
        whom nothing is known, who gets what is popular."""
        try:
            with mg.stage_times() as seconds:
                begin = time.perf_counter()
                rows = self._recommender.recommend(pa.array([user]), k=self._k)
                whole = time.perf_counter() - begin
        except mg.UnknownIdError:
            return self.popular, None
        return frozenset(rows["item_id"].to_pylist()), {**seconds, "request": whole}


@dataclass(frozen=True)
class Replay:
    """What came of the requests.

    Attributes:
        hit: bool [R], whether the list had the article that was clicked then.
        popular: bool [R], whether what was popular when the service was last refreshed had it.
        seconds: each stage's, of the requests that the channels answered.
    """

    hit: NDArray[np.bool_]
    popular: NDArray[np.bool_]
    seconds: list[dict[str, float]]


def replay(service: Service, traffic: Traffic, asked: Ints, name: str) -> Replay:
    """Ask for a list right before each click of ``asked`` int64 [R], ascending numbers of clicks."""
    hit, popular, seconds = [], [], []
    for at in tqdm(asked.tolist(), desc=name):
        service.advance(int(traffic.time[at]))
        found, times = service.ask(int(traffic.user[at]))
        hit.append(int(traffic.item[at]) in found)
        popular.append(int(traffic.item[at]) in service.popular)
        if times is not None:
            seconds.append(times)
    return Replay(np.array(hit), np.array(popular), seconds)
