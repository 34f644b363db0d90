"""A store in memory that does what it is told: answers, fails or sleeps."""

from __future__ import annotations

import threading

from micgraph.schema import StoreError
from micgraph.stores.codec import merge, pack
from micgraph.stores.contract import Store


class MemoryStore(Store):
    """``trouble`` is None, or what a read does before it answers."""

    def __init__(self, size=60, trouble=None):
        super().__init__("memory", size)
        self.rows, self.trouble, self.reads, self._lock = {}, trouble, 0, threading.Lock()

    def _append(self, users, items, timestamps):
        with self._lock:
            for user, entry in zip(users, pack(items, timestamps), strict=True):
                self.rows[user] = merge(self.rows.get(user, b""), [entry], self.size)

    def _read(self, users, m):
        with self._lock:
            self.reads += 1
        if self.trouble is not None:
            self.trouble()
        with self._lock:
            return [self.rows.get(user, b"")[-16 * m :] for user in users]

    def _close(self):
        pass


def unreachable():
    raise StoreError("memory", "a server that answers", "nothing", "start it")
