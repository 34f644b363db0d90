"""Points in time and lengths of time, as whole microseconds: the one unit that logs are kept in."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from micgraph.schema import InputError

SECOND = 1_000_000
_UNITS = {"us": 1, "ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND, "d": 86_400 * SECOND}
_UNITS["w"] = 7 * _UNITS["d"]
LONGEST = 10_000 * 366 * _UNITS["d"]
"""No log is longer, and no time of it further from 1970: what is summed of such numbers fits into 64 bits."""
_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)\s*")


def duration(value: str | timedelta, argument: str = "duration") -> int:
    """A length of time in microseconds, from ``"2d"``, ``"12h"``, ``"30m"``, ``"45s"``, ``"1w"`` or a timedelta.

    Raises:
        InputError: ``value`` is neither, or is not longer than nothing.
    """
    length = 0
    if isinstance(value, timedelta):
        length = value // timedelta(microseconds=1)
    elif isinstance(value, str) and (match := _LENGTH.fullmatch(value)):
        length = round(min(float(match[1]) * _UNITS[match[2]], 2 * LONGEST))
    if not 0 < length <= LONGEST:
        expected = "a length of time above zero, of 10,000 years at most"
        raise InputError(argument, expected, repr(value), 'write it as "2d", "12h" or "30m"')
    return length


def instant(value: str | date | datetime | int | float, argument: str = "time") -> int:
    """A point in time in microseconds since 1970 UTC.

    Args:
        value: ISO text, a date or a datetime (UTC where no zone is given), or a number of seconds since 1970.

    Raises:
        InputError: ``value`` is none of these.
    """
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return round(_near(value) * SECOND)
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    except (TypeError, ValueError, OverflowError) as error:
        remedy = 'write it as "2017-10-16 12:00" or pass a datetime'
        raise InputError(argument, "a point in time", repr(value), remedy) from error


def _near(seconds: float) -> float:
    """The number itself; a ValueError where it is no time of these 10,000 years."""
    if not abs(seconds) * SECOND <= LONGEST:
        raise ValueError(seconds)
    return seconds


def date_text(micros: int) -> str:
    """A point in time as :func:`instant` reads it, such as ``2017-10-16 12:00:00`` (UTC)."""
    return str(np.datetime64(micros, "us").astype("datetime64[s]")).replace("T", " ")


def length_text(micros: int) -> str:
    """A length of time as :func:`duration` reads it, in the longest unit that divides it: ``2d``, ``36h``; ``None`` for
    none at all."""
    if not micros:
        return "None"
    unit = next(name for name in ("d", "h", "m", "s", "ms", "us") if micros % _UNITS[name] == 0)
    return f"{micros // _UNITS[unit]}{unit}"


def setting(name: str, value: Any) -> str:
    """A parameter of a split as one would write it: ``cut_us`` as a date, other microseconds as a length of time."""
    text = date_text if name == "cut_us" else length_text if name.endswith("_us") else repr
    return f"{name.removesuffix('_us')}={text(value)}"
