"""What a recommender and its stores are asked in vain."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import partial

import pytest

import micgraph
from tests.bad_input.table import Attempt, World, case


@case("a user that the graph does not know")
def _(world: World) -> Iterator[Attempt]:
    recommender = micgraph.Recommender(world.train(micgraph.RecGraph.load(world.out)))
    yield partial(recommender.recommend, ["u0", "nobody"])
    yield partial(recommender.recommend, [7])


@case("a store of live histories where something else is")
def _(world: World) -> Iterator[Attempt]:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    yield partial(micgraph.LmdbStore, world.out)
    yield partial(micgraph.LmdbStore, world.file("store", b"mine"))


@case("a store whose file was cut")
def _(world: World) -> Iterator[Attempt]:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    with micgraph.LmdbStore(world.folder / "store") as store:
        store.append([b"i1"], [1], [1])
    file = world.folder / "store" / "data.mdb"
    (file.parent / "lock.mdb").unlink()  # LMDB writes in it whenever a store is opened
    for size in (file.stat().st_size - 1, file.stat().st_size // 2, 0):
        os.truncate(file, size)
        yield partial(micgraph.LmdbStore, file.parent)


@case("a store that was closed")
def _(world: World) -> Iterator[Attempt]:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    with micgraph.LmdbStore(world.folder / "store") as store:
        pass
    yield partial(store.append, [b"i1"], [1], [1])
    yield partial(store.read, [b"i1"])


@case("a click at a time in nanoseconds, for a store")
def _(world: World) -> Iterator[Attempt]:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    with micgraph.LmdbStore(world.folder / "store") as store:
        yield partial(store.append, [b"i1"], [1], [1_508_112_000_000_000_000])


@case("a model from another graph")
def _(world: World) -> Iterator[Attempt]:
    run = world.train(micgraph.RecGraph.load(world.out))
    for clicks in (world.clicks.head(20), world.clicks[world.clicks["item_id"] != "i3"]):
        other = micgraph.build(micgraph.read_log(clicks, items=world.items))
        yield partial(replace, run, graph=other)
        mixed = copy(run)
        mixed.graph = other
        yield partial(micgraph.Recommender, mixed)


@case("a table in place of ids")
def _(world: World) -> Iterator[Attempt]:
    recommender = _served(world)
    yield partial(recommender.recommend, world.clicks[["user_id"]])
    yield partial(recommender.similar_items, world.items)


@case("a k that is no number of items that can be had")
def _(world: World) -> Iterator[Attempt]:
    recommender = _served(world)
    everything = len(recommender.items)
    for k in (0, -1, math.nan, 2.5, "3", True, None, everything + 1):
        yield partial(recommender.recommend, ["u0"], k=k)
        yield partial(recommender.explain, "u0", "i0", k=k)
        yield partial(recommender.similar_items, "i0", k=k)
        yield partial(recommender.similar_users, "u0", k=len(recommender.users) if k == everything + 1 else k)
    yield partial(recommender.recommend, ["u0"], k=3, candidates=["i0", "i1"])


@case("candidates of whom nothing is left")
def _(world: World) -> Iterator[Attempt]:
    recommender = _served(world)
    for candidates in ([], ["nothing"], [[]], [["nothing"]]):
        yield partial(recommender.recommend, ["u0"], k=1, candidates=candidates)
    yield partial(recommender.recommend, ["u0"], k=1, candidates=["i0"], exclude=["i0"])


@case("ids of another type to exclude")
def _(world: World) -> Iterator[Attempt]:
    recommender = _served(world)
    yield partial(recommender.recommend, ["u0"], k=1, exclude=[7])
    yield partial(recommender.recommend, ["u0"], k=1, exclude=[[7]])


@case("channels that do not exist")
def _(world: World) -> Iterator[Attempt]:
    for channels in ("i2u", ["u2i", "x"], [], 5, None, [["u2i"]]):
        yield partial(_served(world).recommend, ["u0"], k=1, channels=channels)


@case("a fusion that is none")
def _(world: World) -> Iterator[Attempt]:
    recommender = _served(world)
    for fusion in (5, "rrf", {"lambda_mic": math.nan}, {"lambda_div": math.inf}, {"k1": -1}, {"sizes": 3}):
        yield partial(recommender.with_fusion, fusion)


@case("a `filter_seen=` that is no flag")
def _(world: World) -> Iterator[Attempt]:
    yield partial(_served(world).recommend, ["u0"], k=1, filter_seen="no")


@case("new items with a column that the graph does not have")
def _(world: World) -> Iterator[Attempt]:
    yield partial(_served(world).add_items, [{"item_id": "new", "catgory": "drama"}])


@case("new items with a number that is none")
def _(world: World) -> Iterator[Attempt]:
    for year in ("abc", [1999]):
        yield partial(_served(world).add_items, {"item_id": ["new", "newer"], "year": [1999, year]})


@case("clicks to observe without a store")
def _(world: World) -> Iterator[Attempt]:
    yield partial(_served(world).observe, "u0", "i0", 1)


def _served(world: World) -> micgraph.Recommender:
    """A recommender, trained once a test."""
    if world.served is None:
        world.served = micgraph.Recommender(world.train(micgraph.RecGraph.load(world.out), out=None))
    return world.served
