"""What every store of live histories does: the latest clicks of each user, in order, whichever way they arrived.

**Keys.** A store outlives graphs: it knows users before a graph numbers them, and a rebuilt graph numbers them anew. So
users are bytes, and items int64 values, that depend on the external id alone: :mod:`micgraph.stores.keys` makes both,
and :class:`micgraph.stores.numbers.ItemNumbers` translates items into the numbers of one graph, in bulk, when they are
read. Clicks on items that no graph knows yet are kept like all others.

**Order.** A history is a set of events (timestamp, item) in ascending order, ties by item, of which the ``size`` last
are kept. Nothing depends on the order of arrival: an event that is appended again changes nothing, a late one lands
where it belongs, and one from before the ``size`` last is left out, also when it comes again.

**Timestamps** are int64 in one unit that all callers of a store share, seconds or microseconds since 1970. They lie
within 2**53, up to which a double, Redis's score, is exact; nanoseconds since 1970 do not and are refused.

**Durability.** When ``append`` returns, the events are acknowledged: every later ``read``, from any thread or process,
sees them, and they outlive a kill of the process. Each store says what they outlive beyond that.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from micgraph.extras import missing
from micgraph.knn import Ragged
from micgraph.schema import ArtifactError, InputError, StoreError
from micgraph.stores.codec import unpack

Int64s = NDArray[np.int64]

FORMAT = 1
"""Of what is stored, the same in every kind of store."""
SIZE = 60
"""M2 of MIC 2.9, the most clicks of a user that one request reads."""
LONGEST_KEY = 511
"""Bytes of a user's key: LMDB takes no more."""
LATEST = 1 << 53


class Store(ABC):
    """The latest ``size`` clicks of every user. All methods may be called from many threads at once.

    Args:
        name: what errors call this store.
        size: M, how many clicks of each user are kept.

    Raises:
        InputError: ``size`` is no integer, or below 1.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, _count("size", size, None)
        self._state = threading.Condition()
        self._inside, self._closed = 0, False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, size={self.size})"

    def append(self, users: Sequence[bytes], items: Any, timestamps: Any) -> None:
        """Add E events, in any order; those that are there already change nothing.

        Args:
            users: whose they are, a key of 1 to 511 bytes an event.
            items: integers [E].
            timestamps: integers [E], within 2**53.

        Raises:
            InputError: names the argument; nothing is added.
            StoreError: closed, full, out of reach or too slow. Some of the events may be there: append them again.
        """
        keys, item, time = _keys(users), _int64("items", items), _int64("timestamps", timestamps)
        for name, values in (("items", item), ("timestamps", time)):
            if len(values) != len(keys):
                raise InputError(name, f"{len(keys)}, one for each of users", len(values), "pass arrays of one length")
        if len(time) and (int(time.max()) > LATEST or int(time.min()) < -LATEST):
            got = int(time.max()) if int(time.max()) > LATEST else int(time.min())
            raise InputError("timestamps", "within 2**53", got, "pass microseconds or seconds, not nanoseconds")
        with self._open():
            if keys:
                self._append(keys, item, time)

    def read(self, users: Sequence[bytes], m: int | None = None) -> Ragged:
        """The latest ``m`` events of each user, oldest first.

        Args:
            users: B keys; one may stand there twice. Who is unknown has an empty row.
            m: at most ``size``, which is the default.

        Returns:
            B rows; ``time`` has the timestamps as they were appended, in their unit.

        Raises:
            InputError: names the argument.
            StoreError: closed, out of reach or too slow, or what is stored is no history.
        """
        keys, latest = _keys(users), self.size if m is None else _count("m", m, self.size)
        with self._open():
            packed = self._read(keys, latest) if keys else []
        try:
            return unpack(packed)
        except ValueError as error:
            remedy = "clear what another program wrote there, or make a new store"
            raise StoreError(self.name, "histories written by micgraph", str(error), remedy) from error

    def close(self) -> None:
        """Wait for calls that are under way, then let go of files and connections. Closing again does nothing."""
        with self._state:
            first, self._closed = not self._closed, True
            self._state.wait_for(lambda: not self._inside)
        if first:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _open(self) -> Iterator[None]:
        """While inside, the store is not closed."""
        with self._state:
            if self._closed:
                raise StoreError(self.name, "an open store", "a closed one", "open it again, and a Recommender with it")
            self._inside += 1
        try:
            yield
        finally:
            with self._state:
                self._inside -= 1
                self._state.notify_all()

    @abstractmethod
    def _append(self, users: list[bytes], items: Int64s, timestamps: Int64s) -> None:
        """See :meth:`append`; E > 0 and all is checked."""

    @abstractmethod
    def _read(self, users: list[bytes], m: int) -> list[bytes]:
        """The history of each of B > 0 users, as :mod:`micgraph.stores.codec` packs it."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of files and connections."""


def check_about(name: str, found: Mapping[str, Any], size: int, version: int = FORMAT) -> None:
    """Refuse to open the store ``name``, which says ``found`` of itself, in another way than it was made.

    Raises:
        ArtifactError: another format.
        InputError: another size.
    """
    if found.get("format") != version or "size" not in found:
        remedy = "make a new store, or read it with the version that wrote it"
        raise ArtifactError(name, f"a store of format {version}", f"format {found.get('format')}", remedy)
    if found["size"] != size:
        remedy = f"pass size={found['size']}, or make a new store"
        raise InputError("size", f"{found['size']}, which the store keeps", size, remedy)


def load_package(name: str) -> Any:
    """A package of the extra ``serve``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise missing("store", name.partition(".")[0]) from error


def _keys(users: Sequence[bytes]) -> list[bytes]:
    keys = list(users)
    for key in keys:
        if not isinstance(key, bytes) or not 0 < len(key) <= LONGEST_KEY:
            got = f"{len(key)} bytes" if isinstance(key, bytes) else repr(key)
            remedy = "make keys of ids by micgraph.stores.keys.user_keys"
            raise InputError("users", f"keys of 1 to {LONGEST_KEY} bytes", got, remedy)
    return keys


def _int64(name: str, values: Any) -> Int64s:
    array = np.asarray(values)
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        got = f"{array.dtype} {list(array.shape)}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            got += " with NaN or infinity"
        raise InputError(name, "integers [E]", got, "convert them to int64")
    if array.dtype == np.uint64 and int(array.max()) > np.iinfo(np.int64).max:
        raise InputError(name, "integers below 2**63", int(array.max()), "convert them to int64")
    return array.astype(np.int64)


def _count(name: str, value: Any, most: int | None) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1 or (most is not None and value > most):
        expected = "an integer of at least 1" if most is None else f"an integer from 1 to {most}, all that is kept"
        raise InputError(name, expected, repr(value), "correct the number")
    return int(value)
