"""Logs of clicks for the benchmark of building: Zipf's law on items, sessions of 2 to 30 clicks, ordered by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PART = 5_000_000
DAY, DAYS, START = 86_400, 30, 1_700_000_000
SHORTEST, LONGEST = 2, 30
PAUSE = (5, 115)  # seconds between clicks: the longest session is shorter than an hour


def write_clicks(folder: Path, events: int, seed: int = 0) -> None:
    """Write about ``events`` clicks of a twentieth as many users on a hundredth as many items, as Parquet parts that
    follow each other in time."""
    rng = np.random.default_rng(seed)
    n_users, n_items = max(events // 20, 2), max(events // 100, 2)
    share = np.cumsum(1 / np.arange(1, n_items + 1))
    share, item_of_rank = share / share[-1], rng.permutation(n_items)
    n_parts = -(-events // PART)
    for part in range(n_parts):
        length = rng.integers(SHORTEST, LONGEST + 1, max(events // n_parts * 2 // (SHORTEST + LONGEST), 1))
        slice_of_time = DAYS * DAY // n_parts
        start = START + slice_of_time * part + rng.integers(0, slice_of_time, len(length))
        user = rng.integers(0, n_users, len(length))
        steps = np.cumsum(rng.integers(*PAUSE, int(length.sum())))
        first = np.cumsum(length) - length
        time = np.repeat(start - steps[first], length) + steps
        item = item_of_rank[np.searchsorted(share, rng.random(len(time)))]
        order = np.argsort(time, kind="stable")
        columns = {"user_id": np.repeat(user, length), "item_id": item, "timestamp": time}
        table = pa.table({name: values[order] for name, values in columns.items()})
        pq.write_table(table, folder / f"part-{part:03d}.parquet")
