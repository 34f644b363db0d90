"""Live histories in a Redis server, for services of several machines.

**Keys**, with the prefix ``micgraph`` and the user's key ``i42``::

    micgraph:about   hash        format, size
    micgraph:h:i42   sorted set  a member an event: its 16 bytes of micgraph.stores.codec; score: its timestamp

Members of equal scores are compared byte by byte, so a set is in the order of (timestamp, item), and an event that
comes again is the member that is there. Sets of up to 128 members (``zset-max-listpack-entries``) are kept packed.

**Trips.** A read and an append are one trip each, of up to 10,000 users or events: scripts of up to 1,000, in one
pipeline, so that the server can answer others in between. More take more trips, each within the timeout. A script is
atomic: nobody sees a history that is longer than ``size``, and a bulk of up to 1,000 events lands whole or not at all.
A request reads the user's own history, then those of similar users: two trips.

**What an acknowledged append outlives** is the server's setting: with ``appendonly yes`` and ``appendfsync always`` it
was on disk before the answer, and a kill of the server loses nothing; with ``appendfsync everysec``, the default, up to
a second's events. The server must not evict (``maxmemory-policy noeviction``), and must be one server: scripts of
several keys are not for a cluster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from micgraph.schema import ArtifactError, InputError, StoreError
from micgraph.stores.codec import pack
from micgraph.stores.contract import FORMAT, SIZE, Int64s, Store, check_about, load_package

T = TypeVar("T")

CHUNK = 1_000
"""Users of a script that reads, events of one that appends."""
TRIP = 10
"""Scripts of one trip."""
TIMEOUT = 1.0
Call = tuple[list[bytes], list[bytes | int]]
"""Users and further arguments of a script."""
_APPEND = """
for at = 2, #ARGV, 3 do redis.call('ZADD', KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2]) end
for at = 1, #KEYS do redis.call('ZREMRANGEBYRANK', KEYS[at], 0, -1 - ARGV[1]) end
"""
_READ = """
local found = {}
for at = 1, #KEYS do found[at] = table.concat(redis.call('ZRANGE', KEYS[at], -ARGV[1], -1)) end
return found
"""


class RedisStore(Store):
    """Live histories in a Redis server.

    Args:
        url: ``redis://[[user]:password@]host[:port][/database]``, ``rediss://`` for TLS, or ``unix://``.
        size: clicks of each user that are kept; a store is opened with the size it was made with.
        prefix: of all keys; stores of other prefixes share the server.
        timeout: seconds until a server that does not answer is given up, for each trip. A connection that turns out to
            be broken is made again, once.

    Raises:
        InputError: no such URL; ``size`` is not the store's; a prefix or a timeout that cannot be one.
        ArtifactError: a store of another format.
        StoreError: the server cannot be reached, or refuses.
        MissingExtraError: the package redis is not installed.
    """

    def __init__(self, url: str, size: int = SIZE, prefix: str = "micgraph", timeout: float = TIMEOUT) -> None:
        self._redis = load_package("redis")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
            raise InputError("timeout", "seconds above 0", repr(timeout), "pass a number of seconds")
        if not isinstance(prefix, str) or not prefix:
            raise InputError("prefix", "some text", repr(prefix), "leave it out, or name the store")
        self._client = self._connect(url, float(timeout))
        place = self._client.connection_pool.connection_kwargs
        super().__init__(f"redis {place.get('host', place.get('path'))}:{place.get('port', '')} {prefix}", size)
        self._about, self._prefix = f"{prefix}:about", f"{prefix}:h:".encode()
        self._scripts: dict[str, str] = {}
        self._check()

    def _connect(self, url: str, timeout: float) -> Any:
        retry = load_package("redis.retry").Retry(
            load_package("redis.backoff").NoBackoff(), 1, (self._redis.ConnectionError,)
        )
        try:
            return self._redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=retry)
        except (AttributeError, TypeError, ValueError) as error:  # a URL may hold a password: it is not repeated
            raise InputError("url", "redis://host:port", "no such URL", "correct the address of the server") from error

    def _check(self) -> None:
        """Write what this store is where nothing is written yet, and compare."""
        with self._answering():
            found = self._client.hgetall(self._about)
            if not found:
                with self._client.pipeline(transaction=True) as pipe:
                    for name, value in (("format", FORMAT), ("size", self.size)):
                        pipe.hsetnx(self._about, name, value)
                    found = pipe.hgetall(self._about).execute()[-1]
        try:
            about = {name.decode(): int(value) for name, value in found.items()}
        except ValueError as error:
            got, remedy = "another program's hash", "choose another prefix"
            raise ArtifactError(self._about, "what a store says of itself", got, remedy) from error
        check_about(self.name, about, self.size)

    def _append(self, users: list[bytes], items: Int64s, timestamps: Int64s) -> None:
        entries, scores = pack(items, timestamps), timestamps.tolist()
        calls: list[Call] = []
        for start in range(0, len(users), CHUNK):
            part = slice(start, start + CHUNK)
            place: dict[bytes, int] = {}
            arguments: list[bytes | int] = [self.size]
            for user, score, entry in zip(users[part], scores[part], entries[part], strict=True):
                arguments += [place.setdefault(user, len(place) + 1), score, entry]
            calls.append((list(place), arguments))
        self._run(_APPEND, calls)

    def _read(self, users: list[bytes], m: int) -> list[bytes]:
        calls: list[Call] = [(users[start : start + CHUNK], [m]) for start in range(0, len(users), CHUNK)]
        return [history for part in self._run(_READ, calls) for history in part]

    def _run(self, script: str, calls: list[Call]) -> list[Any]:
        """The script's answer to each call."""
        answers: list[Any] = []
        with self._answering():
            for start in range(0, len(calls), TRIP):
                answers += self._loaded(script, partial(self._trip, script, calls[start : start + TRIP]))
        return answers

    def _trip(self, script: str, calls: list[Call]) -> list[Any]:
        if script not in self._scripts:
            self._scripts[script] = self._client.script_load(script)
        with self._client.pipeline(transaction=False) as pipe:
            for users, arguments in calls:
                pipe.evalsha(self._scripts[script], len(users), *(self._prefix + user for user in users), *arguments)
            return list(pipe.execute())

    def _loaded(self, script: str, trip: Callable[[], T]) -> T:
        """What ``trip`` gives; where the server was started anew and has lost its scripts, they are loaded first."""
        try:
            return trip()
        except self._redis.exceptions.NoScriptError:
            self._scripts.pop(script, None)
            return trip()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Name the errors of the server and of the way there."""
        try:
            yield
        except self._redis.exceptions.ResponseError as error:
            raise StoreError(self.name, "a server that takes it", str(error), "see the server's log") from error
        except (self._redis.RedisError, OSError) as error:
            got = f"{type(error).__name__}: {error}".split("\n")[0]
            remedy = "see whether the server runs, or allow it a longer timeout"
            raise StoreError(self.name, "a server that answers", got, remedy) from error

    def _close(self) -> None:
        self._client.close()
