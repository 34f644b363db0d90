"""NaN in numbers of a log: as little as a gap, in memory and in Parquet files, whose statistics leave it out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import micgraph as mg

ROWS: dict[str, list[float]] = {
    "user_id": [1.0, 2.0, 3.0, 4.0],
    "item_id": [5.0, 6.0, 7.0, 8.0],
    "timestamp": [1.7e9] * 4,
    "weight": [2.0] * 4,
    "ordinal": [1.0] * 4,
    "duration": [3.0] * 4,
}


def source(columns: dict[str, list[float]], path: Path | None) -> Any:
    if path is None:
        return pa.table(columns)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("user_id", "null user_id"),
        ("item_id", "null item_id"),
        ("timestamp", "unparsable timestamp"),
        ("weight", "weight <= 0"),
        ("ordinal", None),
        ("duration", None),
    ],
)
def test_a_row_is_refused_where_the_value_is_needed(
    tmp_path: Path, name: str, reason: str | None, in_file: bool
) -> None:
    columns = {key: list(values) for key, values in ROWS.items()}
    columns[name][2] = math.nan
    log = mg.read_log(source(columns, tmp_path / "log.parquet" if in_file else None))
    assert log.refused == ({} if reason is None else {reason: 1})
    expected = [user for row, user in enumerate((1, 2, 3, 4)) if reason is None or row != 2]
    assert log.arrow()["user_id"].to_pylist() == expected
    assert log.arrow()["timestamp"].to_pylist() == [1_700_000_000 * 10**6] * len(expected)
    assert mg.build(log).relations["clicks"].n_edges == len(expected)


@pytest.mark.parametrize("in_file", [False, True])
def test_an_id_of_a_feature_table(tmp_path: Path, in_file: bool) -> None:
    items = {"item_id": [5.0, math.nan, 6.0], "year": [1.0, 2.0, 3.0]}
    log = mg.read_log(pa.table(ROWS), items=source(items, tmp_path / "items.parquet" if in_file else None))
    assert log.refused == {"items: null id": 1}
    assert sorted(log.sql("SELECT * FROM {items}").to_pylist(), key=str) == [
        {"item_id": 5, "year": 1.0},
        {"item_id": 6, "year": 3.0},
    ]


def test_duckdb_plans_as_ever_once_a_source_is_closed(tmp_path: Path) -> None:
    log = mg.read_log(source(ROWS, tmp_path / "log.parquet"))
    assert log.scalar("SELECT current_setting('disabled_optimizers')") == ""
