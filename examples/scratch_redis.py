"""A Redis server for as long as an example runs: on a free loopback port, with nothing left behind."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

MISSING = (
    "redis-server is not installed: on Debian and Ubuntu `apt install redis-server`; "
    "Python's side of it comes with `pip install 'micgraph[serve]'`"
)


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of an empty server, which is killed in the end; its files are in a temporary folder.

    Raises:
        SystemExit: it is not installed, or does not start.
    """
    binary = shutil.which("redis-server")
    if binary is None:
        raise SystemExit(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait(server, port)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    """Until it answers."""
    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(64).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        if server.poll() is not None:
            break
        time.sleep(0.05)
    raise SystemExit("redis-server does not start: run it by hand to see why")
