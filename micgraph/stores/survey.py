"""What is in a store of live histories on disk, read without changing it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from micgraph.schema import ArtifactError, StoreError
from micgraph.stores.codec import WIDTH, unseal
from micgraph.stores.contract import check_about, load_package
from micgraph.stores.lmdb_store import ABOUT, HISTORIES, SEALED, STORE

_REMEDY = "restore the directory from a copy, or make a new store"


class Survey(NamedTuple):
    """A store's size, the clicks of each user that are kept; its users and its events."""

    size: int
    users: int
    events: int


def surveyed(path: str | Path) -> Survey:
    """Read every history of the :class:`micgraph.LmdbStore` at ``path``; others may have it open.

    LMDB keeps no checksums of its pages: a changed byte outside of the histories may hide one.

    Raises:
        ArtifactError: no store there, another program's, or one that cannot be opened.
        StoreError: a history that is damaged.
        MissingExtraError: the package lmdb is not installed.
    """
    lmdb, place = load_package("lmdb"), Path(path)
    try:
        with lmdb.open(str(place), max_dbs=2, readonly=True, lock=(place / "lock.mdb").exists()) as env:
            tables = [env.open_db(name, create=False) for name in (ABOUT, HISTORIES)]
            with env.begin() as txn:
                about = dict(json.loads(txn.get(STORE, db=tables[0])))
                size = about.get("size", 0)
                check_about(str(place), about, size, SEALED)
                lengths = [_length(place, user, history, size) for user, history in txn.cursor(db=tables[1])]
    except (lmdb.Error, TypeError, ValueError) as error:
        raise ArtifactError(str(place), "a store written by micgraph", str(error), _REMEDY) from error
    return Survey(size, len(lengths), sum(lengths))


def _length(place: Path, user: bytes, value: bytes, size: int) -> int:
    """How many events a history has."""
    history = unseal(user, value) or b""
    entries = [history[at : at + WIDTH] for at in range(0, len(history), WIDTH)]
    if not 0 < len(entries) <= size or any(one >= two for one, two in zip(entries, entries[1:], strict=False)):
        expected = f"a history of at most {size} events in their order"
        raise StoreError(str(place), expected, f"a damaged one of the user with key {user!r}", _REMEDY)
    return len(entries)
