"""A Redis server for a benchmark: on a free loopback port, ended with it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from micgraph.schema import StoreError
from micgraph.stores.redis_store import RedisStore

SECONDS = 60


@contextmanager
def running(folder: Path, size: int, *settings: str) -> Iterator[RedisStore]:
    """A store of ``size`` clicks a user in a server that keeps its files in ``folder``, as the settings say."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise SystemExit("redis-server is not installed (Debian's package redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    server = subprocess.Popen([binary, *place, *settings], stdout=subprocess.DEVNULL)
    try:
        with _connected(f"redis://127.0.0.1:{port}", size) as store:
            yield store
    finally:
        server.terminate()
        try:
            server.wait(SECONDS)
        except subprocess.TimeoutExpired:  # it does not end while it cannot save
            server.kill()
            server.wait()


def _connected(url: str, size: int) -> RedisStore:
    """Once the server answers, and has read its files."""
    for _ in range(10 * SECONDS):
        try:
            return RedisStore(url, size=size, timeout=10)
        except StoreError:
            time.sleep(0.1)
    raise SystemExit("the server does not answer")
