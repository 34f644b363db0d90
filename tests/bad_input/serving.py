"""What a recommender and its stores are asked in vain."""

from __future__ import annotations

from collections.abc import Iterator
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
