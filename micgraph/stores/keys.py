"""External ids as the keys of stores: the same for every graph, process and machine."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from micgraph.ids import as_array, kind_of
from micgraph.schema import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_WHOLE = 500
"""Bytes of a text that is a key itself; LMDB's keys have at most 511."""


def user_keys(ids: Any) -> list[bytes]:
    """The key of each id: ``i`` and the decimal digits of an integer, ``s`` and a text in UTF-8, ``u`` and the 16 bytes
    of a UUID. So 7 and "7" are two users. Of a text above 500 bytes it is ``h`` and its BLAKE2b digest of 32 bytes.

    Args:
        ids: [B], a list, array or series.

    Raises:
        InputError: a null, or ids that are no integers, texts or UUIDs.
    """
    kind, values = _values("users", ids)
    if kind == "integers":
        return [b"i%d" % value for value in values]
    if kind == "UUIDs":
        return [b"u" + value for value in values]
    texts = [value.encode() for value in values]
    return [b"s" + text if len(text) <= _WHOLE else b"h" + blake2b(text, digest_size=32).digest() for text in texts]


def item_keys(ids: Any) -> NDArray[np.int64]:
    """The key of each id, int64 [B]: an integer is its own; of a text or UUID the BLAKE2b digest of 8 bytes.

    Two of a million texts have one digest with a probability of 3e-8; :class:`micgraph.stores.numbers.ItemNumbers`
    would refuse them.

    Args:
        ids: [B], a list, array or series.

    Raises:
        InputError: a null, an integer of 2**63 or more, or ids that are no integers, texts or UUIDs.
    """
    kind, values = _values("items", ids)
    if kind == "integers":
        if values and max(values) >= 1 << 63:
            raise InputError("items", "integers below 2**63", max(values), "pass such ids as texts")
        return np.array(values, np.int64)
    whole = [value.encode() if isinstance(value, str) else value for value in values]
    digests = b"".join(blake2b(value, digest_size=8).digest() for value in whole)
    return np.frombuffer(digests, ">i8").astype(np.int64)


def _values(name: str, ids: Any) -> tuple[str, list[Any]]:
    """What kind of ids these are, and they as int, str or (UUIDs) bytes."""
    array = as_array(ids)
    if array.null_count:
        raise InputError(name, "an id for every event", f"{array.null_count} nulls", "leave these events out")
    kind = kind_of(array.type)
    if len(array) and kind not in ("integers", "texts", "UUIDs"):
        raise InputError(name, "integers, texts or UUIDs", kind, "convert the ids to one of them")
    return kind, _plain(array).to_pylist()


def _plain(array: pa.Array) -> pa.Array:
    """UUIDs as their bytes."""
    return getattr(array, "storage", array)
