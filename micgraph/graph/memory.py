"""A limit for memory as text, and how the stages of a build share it."""

from __future__ import annotations

import re
from typing import Any

from micgraph.schema import ConfigError

_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([MGT]i?B)\s*", re.IGNORECASE)

LEAST = 256 * 10**6
"""Below this DuckDB has too little for a sort."""

DATABASE = 0.5
"""The share of DuckDB. The rest is for one part of the events (a quarter of the limit), counts of co-occurrence, and
what the system maps of the graph while it is written."""

PART_BYTES = 200
"""What an event of a part takes while it is cut into sessions, with given session ids in the worst case."""

PART_ROWS = 1 << 23
"""Events of a part at the most: more of them make nothing faster."""


def memory(value: Any, argument: str = "memory_limit") -> int:
    """A size of memory in bytes, from ``"4GB"``, ``"512MB"`` or ``"1.5GiB"``.

    Raises:
        ConfigError: it is not written like that, or it is less than :data:`LEAST`.
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(argument, "a size of memory", repr(value), 'write it as "4GB" or "512MB"')
    size = round(float(match[1]) * _UNITS[match[2].upper()])
    if size < LEAST:
        raise ConfigError(argument, f"at least {LEAST // 10**6}MB", repr(value), "give it more")
    return size


def part_rows(limit: str | None) -> int:
    """How many events a part may have."""
    return PART_ROWS if limit is None else min(PART_ROWS, memory(limit) // 4 // PART_BYTES)
