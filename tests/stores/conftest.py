"""Every kind of store, on a disk or a server of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from micgraph.stores.contract import Store
from micgraph.stores.lmdb_store import LmdbStore
from micgraph.stores.redis_store import RedisStore
from tests.redis_server import REDIS, RedisServer

Opener = Callable[..., Store]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    pytest.importorskip("redis", reason="the serve extra is not installed")
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--appendonly", "no")
    yield server
    server.kill()


@pytest.fixture(params=["lmdb", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same store, empty at first, whenever it is called."""
    opened: list[Store] = []
    if request.param == "lmdb":
        pytest.importorskip("lmdb", reason="the serve extra is not installed")
    else:
        url, prefix = request.getfixturevalue("redis_server").url, tmp_path.name

    def opener(**settings: object) -> Store:
        if request.param == "lmdb":
            opened.append(LmdbStore(tmp_path / "store", **settings))
        else:
            opened.append(RedisStore(url, prefix=prefix, timeout=30, **settings))
        return opened[-1]

    yield opener
    for store in opened:
        store.close()
