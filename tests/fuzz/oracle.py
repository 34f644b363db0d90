"""What a log must be counted as, by plain loops over its rows, where its mutations leave that to be known."""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from tests.fuzz.inputs import Input

ISO = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
PLAIN = re.compile(r"[ui]\d{1,3}")
USED = {"user_id", "item_id", "timestamp", "weight", "event"}


def rows_written(made: Input) -> int | None:
    """How many rows the log has, None where bytes or the dialect leave it open."""
    if made.files.get("log") or "log" in made.replaced or made.suffix is not None:
        return None
    if made.family == "csv" and made.dialect:
        return None
    return len(next(iter(made.tables["log"].values()), []))


def expected(made: Input) -> tuple[int, dict[str, int]] | None:
    """Events, and reason -> rows, of a log of plain ids and ISO times or seconds; None for any other."""
    log = made.tables["log"]
    if (
        rows_written(made) is None
        or made.arguments
        or made.types
        or not {"user_id", "item_id", "timestamp"} <= set(log)
    ):
        return None
    if any(name.lower() != name or not name.isidentifier() for name in log):
        return None
    times = [_second(value) for value in log["timestamp"]]
    if not all(_plain(value) for name in ("user_id", "item_id") for value in log[name]) or "unknown" in times:
        return None
    if len({type(value) for value, time in zip(log["timestamp"], times, strict=True) if time not in (None, "nan")}) > 1:
        return None
    if "nan" in times and made.format["log"] == "pandas":  # to which it is a gap
        return None
    weights = log.get("weight", [1.0] * len(times))
    if not all(isinstance(weight, float) for weight in weights):
        return None
    refused: Counter[str] = Counter()
    seen: set[Any] = set()
    for user, item, time, weight in zip(log["user_id"], log["item_id"], times, weights, strict=True):
        reason = _reason(user, item, time, weight) or (
            "duplicate (same user, item and second)" if (user, item, time) in seen else None
        )
        if reason is not None:
            refused[reason] += 1
        else:
            seen.add((user, item, time))
    return len(seen), dict(refused)


def _reason(user: Any, item: Any, time: Any, weight: float) -> str | None:
    if user is None or item is None:
        return "null user_id" if user is None else "null item_id"
    if time is None:
        return "null timestamp"
    if time == "nan":
        return "unparsable timestamp"
    return None if weight > 0 and not math.isnan(weight) else "weight <= 0"


def _plain(value: Any) -> bool:
    return value is None or (isinstance(value, str) and PLAIN.fullmatch(value) is not None)


def _second(value: Any) -> Any:
    if isinstance(value, datetime):
        return int(value.timestamp()) if value.year == 2024 else "unknown"
    if isinstance(value, str) and ISO.fullmatch(value):
        try:
            return int(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp())
        except ValueError:
            return "unknown"
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, int) and not isinstance(value, bool) and 1_600_000_000 < value < 2_000_000_000:
        return value
    return None if value is None else "unknown"
