"""A real Redis server for tests: on a free loopback port, in a folder of its own, ended by its process handle."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

REDIS = shutil.which("redis-server")


class RedisServer:
    """A server that the test may kill, stop for a while, and start again on what it has left."""

    def __init__(self, folder: Path, *settings: str) -> None:
        assert REDIS is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        listening = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder), "--save", ""]
        self.command = [REDIS, *listening, *settings]
        self.url = f"redis://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        for _ in range(600):
            if self._answers():
                return
            assert self.process.poll() is None, "another program took the port"
            time.sleep(0.05)
        raise AssertionError("no server after half a minute")

    def _answers(self) -> bool:
        """Whether it answers, and has read what was left on disk."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)
