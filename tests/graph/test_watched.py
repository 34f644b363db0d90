"""The bar of long statements: it shows DuckDB's progress, not for short ones, and ends with an error too."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import duckdb
import pytest
from tqdm.auto import tqdm

from micgraph.graph import ingest, watched
from micgraph.progress import progress_bar

LONG = "CREATE TABLE t AS SELECT hash(range) % 100 AS k, sum(hash(range + 1)) AS s FROM range({n}) GROUP BY k"


def test_a_long_statement_has_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(watched, "DELAY", 0.0)
    monkeypatch.setattr(watched, "PAUSE", 0.005)
    con = ingest.connect()
    seen: list[float] = []
    monkeypatch.setattr(watched, "progress_bar", partial(progress_bar, disable=False))  # stderr is no terminal here
    monkeypatch.setattr(tqdm, "update", lambda self, n: seen.append(n))
    with watched.watched(con, "counting"):
        con.execute(LONG.format(n=20_000_000))
    assert "counting" in capsys.readouterr().err
    assert any(0 < step <= 100 for step in seen) and min(seen) >= 0


def test_a_short_one_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    con, threads = ingest.connect(), threading.active_count()
    begun = time.perf_counter()
    with pytest.raises(ZeroDivisionError), watched.watched(con, "counting"):
        con.execute(LONG.format(n=10))
        raise ZeroDivisionError
    assert time.perf_counter() - begun < watched.DELAY
    assert not capsys.readouterr().err and threading.active_count() == threads


def test_jupyter_without_widgets_does_without_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB refuses the setting there."""
    real = duckdb.connect()

    class Refusing:
        def execute(self, query: str) -> Any:
            if "enable_progress_bar" in query:
                raise duckdb.InvalidInputException("required package 'ipywidgets' is missing")
            return real.execute(query)

    monkeypatch.setattr(ingest.duckdb, "connect", lambda **_: Refusing())
    con = ingest.connect()
    assert con.execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)
