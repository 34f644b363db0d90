"""What only Redis does: trips, keys, and servers that are away, slow, new or foreign."""

from __future__ import annotations

import sys
import time

import pytest

from micgraph.schema import ArtifactError, InputError, MissingExtraError, StoreError
from micgraph.stores.redis_store import RedisStore
from tests.redis_server import RedisServer
from tests.stores.oracle import rows

redis = pytest.importorskip("redis", reason="the serve extra is not installed")


@pytest.fixture
def client(redis_server):
    found = redis.Redis(port=redis_server.port)
    found.flushall()
    found.script_flush()
    yield found
    found.close()


@pytest.fixture
def store(redis_server, client):
    with RedisStore(redis_server.url, size=60) as made:
        yield made


def test_a_request_is_two_trips(store, monkeypatch):
    users = [b"i%d" % user for user in range(41)]
    store.append(users, range(41), range(41))
    store.read(users[:1])  # now the scripts are loaded
    trips, send = [], redis.connection.AbstractConnection.send_packed_command

    def counted(self, command, *args, **kwargs):
        trips.append(command)
        return send(self, command, *args, **kwargs)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", counted)
    store.read(users[:1], 30)
    found = store.read(users[1:], 60)
    assert len(trips) == 2 and rows(found) == [[(user, user)] for user in range(1, 41)]
    trips.clear()
    store.append(users * 20, range(820), range(820))
    assert len(trips) == 1
    store.read([b"i%d" % user for user in range(9_999)])
    assert len(trips) == 2


def test_the_keys_are_as_documented(store, client):
    store.append([b"i42"] * 3, [7, 5, -1], [1_508_112_000, 1_508_112_000, -3])
    assert sorted(client.keys()) == [b"micgraph:about", b"micgraph:h:i42"]
    assert client.hgetall("micgraph:about") == {b"format": b"1", b"size": b"60"}
    found = client.zrange("micgraph:h:i42", 0, -1, withscores=True)
    half = 1 << 63
    assert found == [
        ((half + time).to_bytes(8, "big") + (half + item).to_bytes(8, "big"), float(time))
        for time, item in [(-3, -1), (1_508_112_000, 5), (1_508_112_000, 7)]
    ]


@pytest.mark.parametrize("theirs", [{"format": "pdf"}, {"colour": "7"}, {"format": "1"}])
def test_another_programs_hash_is_refused_and_stays(redis_server, client, theirs):
    client.hset("mine:about", mapping=theirs)
    with pytest.raises(ArtifactError, match="expected .*store"):
        RedisStore(redis_server.url, prefix="mine")
    assert client.hgetall("mine:about") == {name.encode(): value.encode() for name, value in theirs.items()}
    client.set("yours:about", "text")
    with pytest.raises(StoreError, match="WRONGTYPE"):
        RedisStore(redis_server.url, prefix="yours")
    assert client.get("yours:about") == b"text"


def test_other_prefixes_are_other_stores(store, redis_server):
    store.append([b"i1"], [1], [1])
    with RedisStore(redis_server.url, size=2, prefix="other") as other:
        assert rows(other.read([b"i1"])) == [[]]
        other.append([b"i1"], [2], [2])
    assert rows(store.read([b"i1"])) == [[(1, 1)]]


def test_two_clients_see_each_other(store, redis_server):
    with RedisStore(redis_server.url, size=60) as other:
        other.append([b"i1"], [1], [1])
        store.append([b"i1"], [0], [0])
        assert rows(other.read([b"i1"])) == [[(0, 0), (1, 1)]]


def test_scripts_that_the_server_lost_are_loaded_again(store, client):
    store.append([b"i1"], [1], [1])
    client.script_flush()
    store.append([b"i1"], [2], [2])
    client.script_flush()
    assert rows(store.read([b"i1"])) == [[(1, 1), (2, 2)]]


def test_what_another_program_wrote_is_named(store, client):
    client.set("micgraph:h:i1", "text")
    for call in (lambda: store.read([b"i1"]), lambda: store.append([b"i1"], [1], [1])):
        with pytest.raises(StoreError, match=r"^redis 127.0.0.1:\d+ micgraph: .*WRONGTYPE"):
            call()
    assert client.get("micgraph:h:i1") == b"text"
    client.zadd("micgraph:h:i2", {"member": 1})
    with pytest.raises(StoreError, match="histories written by micgraph, got 6 bytes in one"):
        store.read([b"i2"])


def test_another_format_is_refused(client, redis_server):
    client.hset("micgraph:about", "format", 9)
    with pytest.raises(ArtifactError, match="expected a store of format 1, got format 9"):
        RedisStore(redis_server.url)


def test_a_slow_server_is_given_up_and_found_again(tmp_path):
    server = RedisServer(tmp_path)
    try:
        store = RedisStore(server.url, timeout=0.3)
        store.append([b"i1"], [1], [1])
        server.pause()
        start = time.monotonic()
        with pytest.raises(StoreError, match="a server that answers, got TimeoutError"):
            store.read([b"i1"])
        assert time.monotonic() - start < 5
        server.resume()
        assert rows(store.read([b"i1"])) == [[(1, 1)]]  # and not the answer to an earlier question
        server.kill()
        for call in (lambda: store.read([b"i1"]), lambda: store.append([b"i1"], [1], [1])):
            with pytest.raises(StoreError, match="got ConnectionError.*see whether the server runs"):
                call()
    finally:
        server.kill()
    with pytest.raises(StoreError, match="got ConnectionError") as caught:
        RedisStore(f"redis://:secret@127.0.0.1:{server.port}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "given"),
    [
        ("url", {"url": "http://:secret@127.0.0.1"}),
        ("url", {"url": "redis://:secret@127.0.0.1:port"}),
        ("url", {"url": None}),
        ("prefix", {"prefix": ""}),
        ("prefix", {"prefix": 5}),
        ("timeout", {"timeout": 0}),
        ("timeout", {"timeout": float("nan")}),
        ("timeout", {"timeout": float("inf")}),
        ("timeout", {"timeout": "1"}),
    ],
)
def test_bad_settings_are_named(argument, given):
    with pytest.raises(InputError, match=f"^{argument}: ") as caught:
        RedisStore(**{"url": "redis://127.0.0.1:1", **given})
    assert "secret" not in str(caught.value)


def test_without_the_package_the_remedy_is_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'micgraph\[serve\]'"):
        RedisStore("redis://127.0.0.1:1")
