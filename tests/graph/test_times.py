"""Lengths of time and points in time, as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from micgraph.graph import times
from micgraph.schema import InputError

DAY = 1_577_836_800  # 2020-01-01 UTC


@pytest.mark.parametrize("value", ["2d", timedelta(days=2), "48 h", "2880m"])
def test_durations(value: object) -> None:
    assert times.duration(value) == 2 * 86_400 * 10**6


@pytest.mark.parametrize("value", ["2 fortnights", "0s", "-1h", 5, None, timedelta(0), "99999999999d", timedelta.max])
def test_bad_durations(value: object) -> None:
    with pytest.raises(InputError, match="length of time"):
        times.duration(value)


def test_instants() -> None:
    same = [DAY, "2020-01-01", "2020-01-01T01:00+01:00", datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC).date()]
    assert {times.instant(value) for value in same} == {DAY * 10**6}
    with pytest.raises(InputError, match="point in time"):
        times.instant("noon")


@pytest.mark.parametrize("value", [1e300, -1e13, float("nan"), float("inf"), 2**70])
def test_instants_that_no_log_has(value: float) -> None:
    with pytest.raises(InputError, match="point in time"):
        times.instant(value)


def test_times_are_written_as_they_are_read() -> None:
    assert times.date_text(DAY * 10**6) == "2020-01-01 00:00:00"
    for text in ("2d", "36h", "90m", "45s", "3ms", "1us"):
        assert times.length_text(times.duration(text)) == text
    assert times.length_text(0) == "None"
    assert times.setting("cut_us", DAY * 10**6) == "cut=2020-01-01 00:00:00"
    assert times.setting("test_us", 86_400 * 10**6) == "test=1d"
    assert times.setting("seed", 3) == "seed=3"
