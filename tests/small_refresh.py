"""A toy log in hours, and what an hour adds to it."""

from __future__ import annotations

import numpy as np
import pandas as pd

import micgraph as mg

CONFIG = {"model": {"dim": 8, "history": 6}, "sampling": {"batch_size": 16}, "training": {"epochs": 1}}
START, HOUR, LATER = 1_700_000_000, 3_600, 12


def clicks(hour: int = 0, new: tuple[str, ...] = ("i12", "i13")) -> pd.DataFrame:
    """Hour 0: eight users click twelve items in ten hours. Later hours: twelve clicks, on ``new`` items too."""
    random = np.random.default_rng(hour)
    if hour == 0:
        rows = [(f"u{n % 8}", f"i{n % 12}", START + 7 * n) for n in range(12)]
        rows += [(f"u{random.integers(8)}", f"i{random.integers(12)}", START + 100 + 300 * n) for n in range(110)]
    else:
        begin = START + (10 + hour) * HOUR
        rows = [(f"u{random.integers(8)}", f"i{random.integers(12)}", begin + 200 * n) for n in range(LATER - 4)]
        rows += [(("u1", "new user")[n % 2], new[n // 2], begin + 3_000 + n) for n in range(4)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def items(n: int) -> pd.DataFrame:
    number = np.arange(n)
    category = [("crime", "drama", "nature")[k % 3] for k in number]
    return pd.DataFrame({"item_id": [f"i{k}" for k in number], "category": category, "year": 2000.0 + number})


def users(n: int) -> pd.DataFrame:
    return pd.DataFrame({"user_id": [f"u{k}" for k in range(n)], "country": [("fr", "jp")[k % 2] for k in range(n)]})


def later(hour: int = 1) -> mg.Log:
    """The log of a later hour, with the rows of its new items."""
    return mg.read_log(clicks(hour), items=items(14))
