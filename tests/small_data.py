"""A few hundred rows in the official formats of the data sets that the examples read."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

DAY, HOUR = 86_400, 3_600
NEW_YEAR_2017, GLOBO_CUT = 1_483_228_800, 1_508_155_200  # 2017-01-01 and 2017-10-16 12:00 UTC


def ran(example: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], dict[str, float]]:
    """The lines that it prints, and the last of them, which is JSON."""
    example.main(arguments)
    lines = capsys.readouterr().out.splitlines()
    return lines, json.loads(lines[-1])


def grocery(folder: Path, n_users: int = 40, n_items: int = 12, late: tuple[int, int] = (340, 341)) -> Path:
    """Complete Journey's three tables. Each household buys of eight products, two of which only on the ``late`` days,
    which are in December."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        own = [(user + step) % n_items for step in range(8)]
        for basket in range(8):
            day = late[basket - 6] + user % 5 if basket >= 6 else 40 * basket + user % 20
            for item in rng.choice(own if basket >= 6 else own[:6], 3, replace=False):
                rows.append((user + 1, 1000 + item, user * 100 + basket, NEW_YEAR_2017 + day * DAY))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    names = ("household_id", "product_id", "basket_id", "transaction_timestamp")
    bought = pa.table(dict(zip(names, columns, strict=True)))
    seconds = bought["transaction_timestamp"].cast(pa.timestamp("s", "UTC"))
    pq.write_table(bought.set_column(3, "transaction_timestamp", seconds), folder / "transactions.parquet")
    number = np.arange(n_items)
    products = {
        "product_id": 1000 + number,
        "product_type": [f"TYPE {n % 4}" for n in number],
        "package_size": [f"{n} OZ" for n in number],
        "department": ["GROCERY"] * n_items,
        "product_category": [f"CATEGORY {n % 3}" for n in number],
        "manufacturer_id": number % 5,
        "brand": ["National"] * n_items,
    }
    pq.write_table(pa.table(products), folder / "products.parquet")
    users = {"household_id": np.arange(1, n_users + 1), "age": ["45-54", "25-34"] * (n_users // 2)}
    pq.write_table(pa.table(users), folder / "demographics.parquet")
    return folder


def films(folder: Path) -> Path:
    """MovieLens's three files."""
    rng, n_users, n_items = np.random.default_rng(0), 40, 45
    ratings = [
        f"{user}::{item}::5::{978_300_000 + user * DAY + 60 * place}"
        for user in range(1, n_users + 1)
        for place, item in enumerate(rng.choice(n_items, 12, replace=False) + 1)
    ]
    (folder / "ratings.dat").write_text("\n".join(ratings) + "\n")
    lines = [
        f"{item}::Film {item} ({1970 + item})::{('Drama', 'Comedy|Crime')[item % 2]}" for item in range(1, n_items + 1)
    ]
    (folder / "movies.dat").write_text("\n".join(lines) + "\n")
    people = [f"{user}::{'FM'[user % 2]}::25::{user % 7}::48067" for user in range(1, n_users + 1)]
    (folder / "users.dat").write_text("\n".join(people) + "\n")
    return folder


def news(folder: Path) -> np.ndarray:
    """Globo's file; the seconds of its clicks."""
    rng, n = np.random.default_rng(0), 600
    seconds = np.sort(rng.integers(GLOBO_CUT - 20 * HOUR, GLOBO_CUT + 12 * HOUR, n))
    user = rng.integers(0, 40, n)
    clicks = {"user_id": user, "session_id": user * 100 + seconds // (6 * HOUR) % 100}
    clicks |= {"click_article_id": rng.integers(0, 30, n), "click_timestamp": seconds * 1000}
    pq.write_table(pa.table(clicks), folder / "clicks.parquet")
    return seconds
