"""Clicks as callers tell them: users, items and times in any container, as what stores keep."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from micgraph.graph.times import SECOND, instant
from micgraph.ids import IdMap, as_array, kind_of
from micgraph.retrieval import frames
from micgraph.schema import InputError
from micgraph.stores.contract import LATEST
from micgraph.stores.keys import item_keys, user_keys

_ONE = "pass ISO text, dates, datetimes, or seconds since 1970 before the year 2255"


class Events(NamedTuple):
    """E clicks as :meth:`micgraph.stores.contract.Store.append` takes them; times in microseconds since 1970 UTC."""

    users: list[bytes]
    items: NDArray[np.int64]
    timestamps: NDArray[np.int64]


def events_of(users: Any, items: Any, timestamps: Any, known_users: IdMap, known_items: IdMap) -> Events:
    """Clicks in the words of callers: one value each, or three containers of one length.

    Raises:
        InputError: no event, lengths that differ, nulls, ids of another kind than the graph's, or no points in time.
    """
    given = [frames.as_list(users), frames.as_list(items), _listed(timestamps)]
    lengths = [len(one) for one in given]
    if len(set(lengths)) > 1:
        got = ", ".join(f"{n:,}" for n in lengths)
        raise InputError("users, items, timestamps", "one of each for every event", got, "pass them in one length")
    if not lengths[0]:
        raise InputError("users, items, timestamps", "at least one event", "none", "pass the clicks to keep")
    people, things = _ids(given[0], "users", known_users), _ids(given[1], "items", known_items)
    return Events(user_keys(people), item_keys(things), moments(given[2]))


def first_unknown(items: Any, known: IdMap) -> Any:
    """The first of the items of :func:`events_of` that are unknown, as it was given."""
    ids = as_array(frames.as_list(items))
    return ids[int(np.flatnonzero(known.index(ids) < 0)[0])].as_py()


def moments(given: Any) -> NDArray[np.int64]:
    """Points in time in microseconds since 1970 UTC, int64 [E].

    ISO text, dates and datetimes (UTC where no zone is given; also of NumPy, pandas, polars and Arrow), and numbers,
    which are seconds since 1970: no other unit is guessed.

    Raises:
        InputError: one of them is none, is missing, or lies beyond the year 2255 or before 1684: likely another unit.
    """
    array = _arrow(given)
    kind = None if array is None else array.type
    if kind is None or array is None or not _bulk(kind):
        values = given if array is None else array.to_pylist()
        micros = np.array([_moment(value, row) for row, value in enumerate(values)], dtype=object)
    elif array.null_count:
        row = int(np.flatnonzero(np.asarray(array.is_null()))[0])
        got = f"{array.null_count} missing, the first{_row(row)}"
        raise InputError("timestamps", "a point in time for every event", got, _ONE)
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = kind.tz if pa.types.is_timestamp(kind) else None
        micros = np.asarray(array.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())).astype(object)
    else:
        seconds = np.asarray(array.cast(pa.float64(), safe=False) if pa.types.is_floating(kind) else array)
        if not np.isfinite(seconds).all():
            got = f"NaN or infinity{_row(int(np.flatnonzero(~np.isfinite(seconds))[0]))}"
            raise InputError("timestamps", "finite numbers", got, _ONE)
        micros = np.round(seconds * SECOND) if seconds.dtype.kind == "f" else seconds.astype(object) * SECOND
    beyond = np.abs(micros) > LATEST
    if beyond.any():
        got = f"{micros[beyond][0] / SECOND:.0f} seconds since 1970{_row(int(np.flatnonzero(beyond)[0]))}"
        raise InputError("timestamps", "times from 1684 to 2255", got, _ONE)
    return micros.astype(np.int64)


def _listed(given: Any) -> Any:
    """A container of times: a single one becomes a list of one."""
    single = isinstance(given, str | bytes) or not hasattr(given, "__len__") or getattr(given, "ndim", 1) == 0
    return [given] if single else given


def _ids(given: Any, name: str, known: IdMap) -> pa.Array:
    ids = as_array(given)
    kind = kind_of(ids.type)
    if ids.null_count:
        row = int(np.flatnonzero(np.asarray(ids.is_null()))[0])
        got = f"{ids.null_count} nulls, the first{_row(row)}"
        raise InputError(name, "an id for every event", got, "leave these events out")
    if kind == "texts" and pc.any(empty := pc.equal(pc.binary_length(ids), 0)).as_py() and known.index([""])[0] < 0:
        row = int(np.flatnonzero(np.asarray(empty))[0])
        raise InputError(name, "an id for every event", f"an empty text{_row(row)}", "leave these events out")
    if kind != known.kind and len(known):
        raise InputError(name, f"{known.describe()}, as in the graph", kind, "convert the ids: 7 and '7' are two")
    return ids


def _arrow(given: Any) -> pa.Array | None:
    """Arrays and series as Arrow; None for what has no type of its own."""
    if not hasattr(given, "dtype") and not isinstance(given, pa.Array | pa.ChunkedArray):
        return None
    try:
        return as_array(given)
    except InputError:
        return None


def _bulk(kind: pa.DataType) -> bool:
    t = pa.types
    return bool(t.is_timestamp(kind) or t.is_date(kind) or t.is_integer(kind) or t.is_floating(kind))


def _row(number: int) -> str:
    return f" in row {number}, counted from 0"


def _moment(value: Any, row: int) -> int:
    """One point in time; errors name its row."""
    try:
        return instant(_present(value), "timestamps")
    except InputError as error:
        raise InputError(error.argument, error.expected, error.got + _row(row), error.remedy) from error


def _present(value: Any) -> Any:
    """The value as :func:`instant` reads it; refuses what is missing."""
    value = value.item() if isinstance(value, np.integer | np.floating) else value
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[us]").item()
    if value is None or value != value or str(value) == "NaT" or isinstance(value, bool):  # NaN is not itself
        raise InputError("timestamps", "a point in time for every event", repr(value), _ONE)
    if isinstance(value, float) and not np.isfinite(value):
        raise InputError("timestamps", "finite numbers", repr(value), _ONE)
    return value
