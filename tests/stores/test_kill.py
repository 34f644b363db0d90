"""What an append has acknowledged outlives a SIGKILL: of the process that writes LMDB, and of Redis."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from micgraph.schema import StoreError
from micgraph.stores.lmdb_store import LmdbStore
from micgraph.stores.redis_store import RedisStore
from tests.redis_server import REDIS, RedisServer
from tests.stores.oracle import rows

REPOSITORY = Path(__file__).resolve().parents[2]
THREADS, BULK, SIZE = 4, 10, 50
WRITER = f"""
import os, sys, threading
from micgraph.stores.lmdb_store import LmdbStore
store = LmdbStore(sys.argv[1], size={SIZE})
def write(thread):
    for number in range(10**9):
        user, first = b"%d:%d" % (thread, number // 5), number * {BULK}
        events = range(first, first + {BULK})
        store.append([user] * {BULK}, events, events)
        os.write(1, b"%d %d\\n" % (thread, number))
for thread in range({THREADS}):
    threading.Thread(target=write, args=(thread,)).start()
"""


def expected(thread: int, numbers: int) -> dict[bytes, list[tuple[int, int]]]:
    """The histories of one thread's users after ``numbers`` bulks: five bulks of ten events a user."""
    found: dict[bytes, list[tuple[int, int]]] = {}
    for event in range(numbers * BULK):
        found.setdefault(b"%d:%d" % (thread, event // BULK // 5), []).append((event, event))
    return found


def check(store, acknowledged: dict[int, int]) -> None:
    """Everything acknowledged is there; beyond it at most the one bulk that was under way, whole."""
    for thread, numbers in acknowledged.items():
        users = [b"%d:%d" % (thread, user) for user in range(numbers // 5 + 2)]
        held = dict(zip(users, rows(store.read(users)), strict=True))
        held = {user: row for user, row in held.items() if row}
        assert held in (expected(thread, numbers), expected(thread, numbers + 1))


def test_lmdb_keeps_what_a_killed_process_was_told(tmp_path):
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", WRITER, str(tmp_path / "store")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    lines = [process.stdout.readline() for _ in range(60)]
    process.kill()
    lines += process.stdout.read().splitlines(keepends=True)
    process.wait()
    acknowledged = dict.fromkeys(range(THREADS), 0)
    for line in lines:
        assert line.endswith(b"\n"), "the writer failed"
        thread, number = map(int, line.split())
        assert number == acknowledged[thread]
        acknowledged[thread] += 1
    with LmdbStore(tmp_path / "store", size=SIZE) as store:
        check(store, acknowledged)
        store.append([b"after"], [1], [1])
        assert rows(store.read([b"after"])) == [[(1, 1)]]


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
def test_redis_keeps_what_it_told_before_it_was_killed(tmp_path):
    pytest.importorskip("redis", reason="the serve extra is not installed")
    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    acknowledged, enough = dict.fromkeys(range(THREADS), 0), threading.Event()
    store = RedisStore(server.url, size=SIZE, timeout=5)

    def write(thread):
        while True:
            number = acknowledged[thread]
            events = range(number * BULK, (number + 1) * BULK)
            try:
                store.append([b"%d:%d" % (thread, number // 5)] * BULK, events, events)
            except StoreError:
                return
            acknowledged[thread] += 1
            if sum(acknowledged.values()) > 80:
                enough.set()

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(THREADS)]
    try:
        for thread in threads:
            thread.start()
        assert enough.wait(60)
        server.kill()
        for thread in threads:
            thread.join()
        server.start()
        check(store, acknowledged)  # the same store: it connects again, and loads its scripts again
        store.append([b"after"], [1], [1])
        assert rows(store.read([b"after"])) == [[(1, 1)]]
    finally:
        server.kill()
