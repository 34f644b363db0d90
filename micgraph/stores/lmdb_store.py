"""Live histories in LMDB: embedded, on this machine's disk, for all its processes.

The directory holds one LMDB environment with two tables: ``about`` (one JSON, key ``store``: format, size) and
``histories`` (the user's key -> the packed history of :mod:`micgraph.stores.codec`, and a CRC-32 of key and history).

An append is acknowledged when its transaction is on disk (fsync of data and of LMDB's meta page): it outlives a kill
and a power cut. Threads that append at the same time share one transaction. Readers wait for nobody: each call reads
one snapshot. Several processes may have the same directory open; one process opens it once, for all its threads, and
opens it after it has forked.

LMDB itself keeps no checksums. A file that was cut, that is empty or whose meta pages are no LMDB's is refused, and so
is a changed history; a byte that changed in LMDB's own pages may hide users, or end the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from micgraph.artifact import as_path
from micgraph.schema import ArtifactError, InputError, MicgraphError, StoreError
from micgraph.stores.codec import WIDTH, merge, pack, seal, unseal
from micgraph.stores.contract import SIZE, Int64s, Store, check_about, load_package
from micgraph.stores.group_commit import GroupCommit

MAP_SIZE = 1 << 36
"""64 GiB of address space; the file grows only as it is filled."""
RESTORE = "restore it from a copy, or choose another path for a new one"
_READERS = 512
SEALED = 2
"""The format: histories with four bytes that vouch for them, which format 1 had not."""
ABOUT, STORE, HISTORIES = b"about", b"store", b"histories"


class LmdbStore(Store):
    """Live histories in the directory ``path``, made where it is missing.

    Args:
        path: a directory on a local disk.
        size: clicks of each user that are kept; a store is opened with the size it was made with.
        map_size: bytes that the store may grow to; may be another each time.

    Raises:
        InputError: ``size`` is not the store's; a ``map_size`` of no size.
        ArtifactError: ``path`` holds something else, or cannot be opened.
        MissingExtraError: the package lmdb is not installed.
    """

    def __init__(self, path: str | Path, size: int = SIZE, map_size: int = MAP_SIZE) -> None:
        place = as_path(path)
        super().__init__(str(place), size)
        self._lmdb = load_package("lmdb")
        if isinstance(map_size, bool) or not isinstance(map_size, int) or map_size < 1 << 20:
            raise InputError("map_size", "bytes, at least 2**20", repr(map_size), "leave it out, or pass more")
        self._env = self._environment(place, map_size)
        try:
            self._refuse_cut(place, self._env)
            self._env.reader_check()  # a process that was killed while it read would keep old pages from being used
            self._histories = self._table()
        except BaseException:
            self._env.close()
            raise
        self._group = GroupCommit(self._commit)

    def _environment(self, path: Path, map_size: int) -> Any:
        remedy = "choose another path, or open the store once for all threads"
        if path.exists() and not (path.is_dir() and ((path / "data.mdb").is_file() or not any(path.iterdir()))):
            got = f"other files, such as {min(x.name for x in path.iterdir())}" if path.is_dir() else "a file"
            raise ArtifactError(str(path), "a store or an empty directory", got, remedy)
        if (path / "data.mdb").exists() and not (path / "data.mdb").stat().st_size:
            raise ArtifactError(str(path), "a store", "an empty file data.mdb", RESTORE)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if (path / "data.mdb").exists() and not (path / "lock.mdb").exists():
                self._look(path, map_size)
            return self._lmdb.open(str(path), map_size=map_size, max_dbs=2, max_readers=_READERS, readahead=False)
        except MicgraphError:
            raise
        except (self._lmdb.Error, OSError) as error:
            raise ArtifactError(str(path), "a store that can be opened", str(error), remedy) from error

    def _refuse_cut(self, path: Path, env: Any) -> None:
        """Refuse a file that ends before its last page: reading beyond the end of a mapped file kills the process."""
        whole = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        found = (path / "data.mdb").stat().st_size
        if found < whole:
            expected, got = f"{whole:,} bytes in data.mdb", f"{found:,}, a file that was cut"
            raise ArtifactError(self.name, expected, got, RESTORE)

    def _look(self, path: Path, map_size: int) -> None:
        """Refuse what is no store before LMDB makes its lock file there: without one nobody else has it open."""
        with self._lmdb.open(str(path), map_size=map_size, max_dbs=2, readonly=True, lock=False) as env:
            self._refuse_cut(path, env)
            self._look_inside(env)

    def _look_inside(self, env: Any) -> None:
        with env.begin() as txn:
            if txn.stat()["entries"]:
                self._tables(env, txn)

    def _table(self) -> Any:
        """The table of histories; makes both tables in an environment where there is nothing yet."""
        about = json.dumps({"format": SEALED, "size": self.size}).encode()
        with self._env.begin(write=True) as txn:
            if not txn.stat()["entries"]:
                txn.put(STORE, about, db=self._env.open_db(ABOUT, txn=txn))
                return self._env.open_db(HISTORIES, txn=txn)
            return self._tables(self._env, txn)

    def _tables(self, env: Any, txn: Any) -> Any:
        """The table of histories of a store that is there."""
        try:
            tables = [env.open_db(name, txn=txn, create=False) for name in (ABOUT, HISTORIES)]
            found = dict(json.loads(txn.get(STORE, db=tables[0])))
        except (self._lmdb.Error, TypeError, ValueError) as error:
            got, remedy = "another program's LMDB", "choose another path"
            raise ArtifactError(self.name, "a store written by micgraph", got, remedy) from error
        check_about(self.name, found, self.size, SEALED)
        return tables[1]

    def _append(self, users: list[bytes], items: Int64s, timestamps: Int64s) -> None:
        self._group(list(zip(users, pack(items, timestamps), strict=True)))

    def _commit(self, works: list[list[tuple[bytes, bytes]]]) -> None:
        new = _by_user(event for work in works for event in work)
        try:
            with self._env.begin(write=True, db=self._histories) as txn:
                for user in sorted(new):
                    old = self._intact(user, txn.get(user, b""))
                    history = merge(old, new[user], self.size)
                    if history != old:
                        txn.put(user, seal(user, history))
        except self._lmdb.MapFullError as error:
            raise StoreError(self.name, "room for more", str(error), "open it with a larger map_size") from error
        except self._lmdb.Error as error:
            remedy = "free space where its disk is full, then append again"
            raise StoreError(self.name, "a disk that can be written", str(error), remedy) from error

    def _read(self, users: list[bytes], m: int) -> list[bytes]:
        try:
            with self._env.begin(db=self._histories) as txn:
                histories = [self._intact(user, txn.get(user, b"")) for user in users]
        except self._lmdb.Error as error:
            raise StoreError(self.name, "a store that can be read", str(error), "open it again") from error
        return histories if m == self.size else [history[-WIDTH * m :] for history in histories]

    def _intact(self, user: bytes, value: bytes) -> bytes:
        """The history in a value; none where there is no value."""
        history = unseal(user, value) if value else b""
        if history is None:
            got = f"{len(value)} bytes that were changed"
            raise StoreError(self.name, "histories written by micgraph", got, "restore the store from a copy")
        return history

    def _close(self) -> None:
        self._env.close()


def _by_user(events: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for user, entry in events:
        found.setdefault(user, []).append(entry)
    return found
