"""JSON objects that carry a checksum of their own: for files that nothing else vouches for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from micgraph import disk
from micgraph.schema import ArtifactError

CHECKSUM = "checksum"
REMEDY = "restore it from a copy, or make it again"


def dumps(values: Mapping[str, Any], indent: int | None = None) -> str:
    """The object as JSON, with the SHA-256 of its content under the key ``checksum``."""
    plain = json.loads(json.dumps(values))  # keys as JSON has them
    return json.dumps({**plain, CHECKSUM: _digest(plain)}, indent=indent)


def loads(text: bytes, name: str, keys: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """Read what :func:`dumps` wrote.

    Args:
        name: what errors call it.
        keys, optional: the keys of the object. With just these and no checksum it is one of an earlier version of
            micgraph.

    Raises:
        ArtifactError: it is no such object, or not what was written.
    """
    try:
        found = json.loads(text)
        given = found.pop(CHECKSUM, None)
        intact = set(keys) <= set(found) <= {*keys, *optional} and given in (None, _digest(found))
    except (ValueError, TypeError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise ArtifactError(name, "the JSON that micgraph wrote", "a changed file", REMEDY)
    return dict(found)


def write(path: Path, values: Mapping[str, Any]) -> None:
    """:func:`dumps` to a file, of which a reader sees all or nothing.

    Raises:
        ArtifactError: it cannot be written.
    """
    disk.write_text(path, dumps(values, indent=1))


def read(path: Path, keys: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """:func:`loads` of a file.

    Raises:
        ArtifactError: it cannot be read, or is not what was written.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ArtifactError(str(path), "a file that can be read", str(error), REMEDY) from error
    return loads(text, str(path), keys, optional)


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
