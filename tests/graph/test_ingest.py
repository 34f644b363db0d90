"""Any file or table, any type of id and any way to write times: the same events, or a named error."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from micgraph.graph.events import Log, read_log
from micgraph.graph.staging import DUPLICATE
from micgraph.schema import InputError, SchemaError

DAY = 1_577_836_800  # 2020-01-01 UTC


def table(**columns: object) -> pa.Table:
    base = {"user_id": [1, 1, 2], "item_id": ["a", "b", "a"], "timestamp": [DAY, DAY + 1, DAY + 2]}
    return pa.table({**base, **columns})


def seconds(log: Log) -> list[float]:
    return sorted((log.arrow()["timestamp"].to_numpy() / 1e6).tolist())


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "parquet", "csv", "csv.gz", "list", "glob"])
def test_every_source_gives_the_same_events(kind: str, tmp_path: Path) -> None:
    rows = table()
    sources = {"pandas": rows.to_pandas, "polars": lambda: pl.from_arrow(rows), "arrow": lambda: rows}
    if kind in sources:
        source = sources[kind]()
    else:
        pq.write_table(rows.slice(0, 1), tmp_path / "b.parquet")
        pq.write_table(rows.slice(1), tmp_path / "a.parquet")
        pq.write_table(rows, tmp_path / "all.pq")
        rows.to_pandas().to_csv(tmp_path / "all.csv", index=False)
        rows.to_pandas().to_csv(tmp_path / "all.csv.gz", index=False)
        names = {"parquet": "all.pq", "csv": "all.csv", "csv.gz": "all.csv.gz", "glob": "*.parquet"}
        source = [tmp_path / "a.parquet", tmp_path / "b.parquet"] if kind == "list" else str(tmp_path / names[kind])
    log = read_log(source)
    assert log.arrow().to_pydict() == {
        "user_id": [1, 1, 2],
        "item_id": ["a", "b", "a"],
        "timestamp": [(DAY + i) * 1_000_000 for i in range(3)],
        "ordinal": [0, 0, 0],
    }
    assert log.source_kind == (kind if kind in sources else "path") and log.refused == {}


def test_columns_rename_ours_from_theirs() -> None:
    rows = pa.table({"who": [1], "click_article_id": [7], "when": [DAY], "item_id": ["another column"]})
    log = read_log(rows, columns={"user_id": "who", "item_id": "click_article_id", "timestamp": "when"})
    assert log.arrow().to_pylist() == [{"user_id": 1, "item_id": 7, "timestamp": DAY * 1_000_000, "ordinal": 0}]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([-5, 0, 2**62], pa.int64()),
        pa.array([-5, 0, 7], pa.int16()),
        pa.array(["été", "日本", "a b"]),
        pa.array([uuid.UUID(int=n) for n in (1, 2**127 + 3, 9)]),
    ],
    ids=["int64", "int16", "text", "uuid"],
)
def test_ids_come_back_as_given(ids: pa.Array) -> None:
    log = read_log(table(user_id=ids, item_id=ids))
    events = log.arrow().sort_by("timestamp")
    for name in ("user_id", "item_id"):
        assert events.schema.field(name).type == ids.type
        assert events[name].to_pylist() == ids.to_pylist()


def test_categories_are_text_and_pandas_integers_with_gaps_are_integers() -> None:
    rows = pd.DataFrame(
        {"user_id": [1.0, 2.0, None], "item_id": pd.Categorical(["x", "y", "x"]), "timestamp": [1, 2, 3]}
    )
    log = read_log(rows)
    assert log.arrow().to_pydict()["user_id"] == [1, 2] and log.arrow().to_pydict()["item_id"] == ["x", "y"]
    assert log.refused == {"null user_id": 1}


def test_csv_ids_with_leading_zeros_stay_text(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n007,12,2020-01-01\n8,13,2020-01-02\n")
    rows = read_log(tmp_path / "log.csv").arrow()
    assert rows["user_id"].to_pylist() == ["007", "8"] and rows["item_id"].to_pylist() == [12, 13]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("auto", [True, False])
def test_numeric_times_in_any_unit(unit: str, auto: bool) -> None:
    factor = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    rows = table(timestamp=[DAY * factor, (DAY + 1) * factor, 0])
    assert seconds(read_log(rows, time_unit="auto" if auto else unit)) == [0, DAY, DAY + 1]


def test_times_of_every_type_are_utc() -> None:
    moments = [datetime(2020, 1, 1), datetime(2020, 1, 1, 0, 0, 1), datetime(2020, 1, 1, 0, 0, 2, 500_000)]
    zone = pd.Series(moments).dt.tz_localize("UTC").dt.tz_convert("America/Sao_Paulo")
    for column in (moments, zone, pa.array(moments, pa.timestamp("ns")), [str(m) for m in moments]):
        frame = pd.DataFrame({"user_id": 1, "item_id": 2, "timestamp": column})
        assert seconds(read_log(frame)) == [DAY, DAY + 1, DAY + 2.5]
    text = ["2020-01-01T03:00:00+03:00", str(DAY + 1), f"{DAY + 2}.5"]
    assert seconds(read_log(table(timestamp=text))) == [DAY, DAY + 1, DAY + 2.5]
    assert seconds(read_log(table(timestamp=[DAY + 0.25, DAY + 1, -1.5]))) == [-1.5, DAY + 0.25, DAY + 1]


def test_mixed_units_are_refused_with_the_remedy() -> None:
    rows = table(timestamp=[DAY, DAY * 1000, DAY])
    with pytest.raises(SchemaError, match="numbers in one unit.*look like s .*look like ms .*time_unit="):
        read_log(rows)
    assert len(read_log(rows, time_unit="ms")) == 3


def test_unparsable_times_are_counted_unless_all_are(tmp_path: Path) -> None:
    log = read_log(table(timestamp=["2020-01-01", "yesterday", None]))
    assert log.refused == {"null timestamp": 1, "unparsable timestamp": 1} and len(log) == 1
    with pytest.raises(SchemaError, match="times that can be parsed"):
        read_log(table(timestamp=["x", "y", "z"]))
    lines = ["1,2,2020-01-01"] * 30_000 + ["1,2,never"]  # beyond any sample
    (tmp_path / "late.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(lines))
    assert read_log(tmp_path / "late.csv").refused == {"unparsable timestamp": 1, DUPLICATE: 29_999}


@pytest.mark.parametrize("source", ["frame", "csv", "parquet"])
def test_no_order_of_day_and_month_is_guessed(source: str, tmp_path: Path) -> None:
    def given(times: list[str]) -> object:
        rows = table(user_id=["x", "x", "y"], timestamp=times)
        if source == "csv":
            rows.to_pandas().to_csv(tmp_path / "log.csv", index=False)
        pq.write_table(rows, tmp_path / "log.parquet")
        return rows if source == "frame" else tmp_path / f"log.{source}"

    slashes = ["04/03/2024 09:00", "13/03/2024 09:00", "14/03/2024 09:00"]
    with pytest.raises(SchemaError, match=r'time_format="%d/%m/%Y %H:%M"'):
        read_log(given(slashes))
    first = int(datetime(2024, 3, 4, 9, tzinfo=UTC).timestamp())
    assert seconds(read_log(given(slashes), time_format="%d/%m/%Y %H:%M")) == [first + 86_400 * n for n in (0, 9, 10)]
    mixed = read_log(given(["2024-03-04 09:00:00", "04/03/24 09:00", "2024-03-04T09:00:01Z"]))
    assert seconds(mixed) == [first, first + 1] and mixed.refused == {"unparsable timestamp": 1}
    days = read_log(given(["20240304", "20240305", "20240306"]), time_format="%Y%m%d")
    assert seconds(days)[0] == first - 9 * 3600


def test_csv_ids_that_pandas_wrote_with_a_fraction_are_integers(tmp_path: Path) -> None:
    rows = pd.DataFrame({"user_id": [12320.0, None, 7.0], "item_id": ["1.0", "x", "2.5"], "timestamp": DAY})
    rows.to_csv(tmp_path / "log.csv", index=False)
    log = read_log(tmp_path / "log.csv")
    assert log.arrow()["user_id"].to_pylist() == [7, 12320] and log.refused == {"null user_id": 1}
    assert log.arrow()["item_id"].to_pylist() == ["2.5", "1.0"]


def test_unreadable_files(tmp_path: Path) -> None:
    good, broken, unknown = tmp_path / "good.parquet", tmp_path / "broken.parquet", tmp_path / "log.xlsx"
    pq.write_table(pa.table({name: np.arange(5_000) for name in ("user_id", "item_id", "timestamp")}), good)
    half = good.read_bytes()
    broken.write_bytes(half[: len(half) // 2])
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(half[:4] + b"\xff" * 2_000 + half[2_004:])
    unknown.write_bytes(b"x")
    missing = [tmp_path / "missing.parquet", tmp_path / "*.csv"]
    for path in (broken, damaged, unknown, *missing, 5, None, [], [good, unknown]):
        with pytest.raises(InputError) as caught:
            read_log(path)
        assert not isinstance(caught.value, duckdb.Error) and "log" in str(caught.value)
    with pytest.raises(InputError, match="items: expected an existing file"):
        read_log(good, items=tmp_path / "missing.parquet")


def test_frames_that_arrow_cannot_hold() -> None:
    big = pd.DataFrame({"user_id": [1, 2**70], "item_id": ["a", "b"], "timestamp": [1, 2]})
    with pytest.raises(InputError, match="log: expected a readable table, columns of one type each"):
        read_log(big)
    with pytest.raises(InputError, match="log: expected a table that Arrow can hold"):
        read_log(pl.DataFrame({"user\0id": [1]}))
