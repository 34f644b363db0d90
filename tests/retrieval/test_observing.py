"""Observed clicks in every container that users come with, and what is no click."""

from __future__ import annotations

import logging
import math
import uuid
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from micgraph.ids import IdMap
from micgraph.retrieval.observing import events_of, moments
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import InputError, StoreError, UnknownIdError
from micgraph.stores.keys import item_keys
from tests.retrieval.memory_store import MemoryStore, unreachable

NOON = datetime(2024, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
MICROS = 1_709_294_400_250_000
TEXTS = IdMap(pa.array(["a", "b"]))


@pytest.mark.parametrize(
    "one",
    [
        NOON,
        NOON.replace(tzinfo=None),  # UTC, as in logs
        NOON.astimezone(timezone(timedelta(hours=5))),
        "2024-03-01 12:00:00.25",
        "2024-03-01T17:00:00.250+05:00",
        MICROS / 1e6,
        np.float64(MICROS / 1e6),
        pd.Timestamp(NOON),
        pd.Timestamp(NOON).tz_convert("Asia/Tokyo"),
        np.datetime64("2024-03-01T12:00:00.250"),
    ],
)
def test_one_moment_in_every_form(one):
    for given in (one, [one]):
        assert events_of("a", "b", given, TEXTS, TEXTS).timestamps.tolist() == [MICROS]
    assert moments([one, "1970-01-01", date(1970, 1, 2), 3, np.int64(-1)]).tolist() == [
        MICROS,
        0,
        86_400_000_000,
        3_000_000,
        -1_000_000,
    ]


@pytest.mark.parametrize(
    "many",
    [
        pd.Series(pd.to_datetime([NOON, NOON])),
        pd.Series(pd.to_datetime([NOON, NOON])).dt.tz_convert("Asia/Tokyo"),
        pd.Series(pd.to_datetime([NOON, NOON])).dt.tz_localize(None),
        pd.DatetimeIndex([NOON, NOON]),
        pl.Series([NOON, NOON]),
        pa.array([NOON, NOON]),
        pa.chunked_array([[NOON], [NOON]]),
        np.array(["2024-03-01T12:00:00.250"] * 2, "datetime64[ns]"),
        np.array([MICROS / 1e6] * 2),
        pd.Series(["2024-03-01 12:00:00.25"] * 2),
        pa.array(["2024-03-01 12:00:00.25"] * 2),
    ],
)
def test_many_moments_in_every_container(many):
    assert moments(many).tolist() == [MICROS, MICROS]
    assert moments(np.array([1, -2])).tolist() == [1_000_000, -2_000_000]


@pytest.mark.parametrize(
    "wrong",
    [
        math.nan,
        math.inf,
        None,
        pd.NaT,
        np.datetime64("NaT"),
        True,
        "yesterday",
        MICROS // 1_000,  # milliseconds
        float(MICROS),
        b"2024",
        object(),
    ],
)
def test_no_moment_is_guessed(wrong):
    with pytest.raises(InputError, match="timestamps"):
        moments([wrong])
    with pytest.raises(InputError, match="timestamps"):
        moments(["2024-03-01", wrong])


@pytest.mark.parametrize(
    "wrong",
    [
        np.array([1.0, math.nan]),
        pd.Series(pd.to_datetime(["2024-03-01", None])),
        pa.array([1, None]),
        np.array([MICROS // 1_000]),
        np.array([True, False]),
        pl.Series([[1], [2]]),
        np.array([1, 2], "timedelta64[s]"),
    ],
)
def test_no_moment_in_a_container_is_guessed(wrong):
    with pytest.raises(InputError, match="timestamps"):
        moments(wrong)


@pytest.mark.parametrize(
    ("users", "items", "times", "named"),
    [
        (["a", "b"], ["a"], [1, 2], "one of each"),
        (["a"], ["a"], [1, 2], "one of each"),
        ("a", ["a", "b"], [1, 2], "one of each"),
        ([], [], [], "at least one event"),
        (["a", None], ["a", "b"], [1, 2], "users"),
        (["a"], [None], [1], "items"),
        (7, "a", 1, "users: .*texts"),
        ("a", 7, 1, "items: .*texts"),
        (["a", 7], ["a", "b"], [1, 2], "one type"),
        (1.5, "a", 1, "users"),
        ("", "a", 1, "users: expected an id for every event, got an empty text in row 0"),
        (["a", "b"], ["a", ""], [1, 2], "items: expected an id for every event, got an empty text in row 1"),
        (["a", "b", None], ["a"] * 3, [1, 2, 3], "users: .* got 1 nulls, the first in row 2, counted from 0"),
        (["a", "b"], ["a", "b"], ["2024-03-01", "then"], "timestamps: .* got 'then' in row 1"),
        (["a", "b"], ["a", "b"], [1, MICROS], f"timestamps: .* got {MICROS} in row 1"),
        (["a", "b"], ["a", "b"], np.array([1, math.nan]), "timestamps: .* in row 1"),
        (["a", "b"], ["a", "b"], np.array([1, math.inf]), "timestamps: .* in row 1"),
    ],
)
def test_what_is_no_event_is_refused_and_nothing_kept(world, users, items, times, named):
    store = MemoryStore()
    with pytest.raises(InputError, match=named):
        Recommender(world(), store=store).observe(users, items, times)
    assert not store.rows


def test_ids_of_every_kind_become_the_keys_of_the_stores(world):
    ids = [uuid.UUID(int=5), uuid.UUID(int=6)]
    some = IdMap(pa.array([x.bytes for x in ids], pa.binary(16)).cast(pa.uuid()))
    events = events_of(ids, ids, [1, 2], some, some)
    assert events.users == [b"u" + x.bytes for x in ids] and events.items.tolist() == item_keys(ids).tolist()
    numbers = IdMap(pa.array([5, 6], pa.int32()))
    for users in ([5, 2**40], np.array([5, 2**40]), pd.Series([5.0, 2.0**40]), pl.Series([5, 2**40])):
        assert events_of(users, users, [1, 2], numbers, numbers).users == [b"i5", b"i1099511627776"]
    store = MemoryStore()
    rec = Recommender(world(integer_ids=True), store=store)
    rec.observe(pl.Series(["u01", "u02"]), np.array([1003, 77]), pd.to_datetime([NOON, NOON]))
    assert sorted(store.rows) == [b"su01", b"su02"]


def test_what_the_store_did_not_acknowledge_is_told(world):
    store = MemoryStore()
    store._append = lambda *_: unreachable()
    with pytest.raises(StoreError, match="start it"):
        Recommender(world(), store=store).observe("u01", "i01", 1)


def test_clicks_on_unknown_items_are_kept_and_told_of_once_in_a_while(world, caplog):
    store = MemoryStore()
    rec = Recommender(world(), store=store)
    with caplog.at_level(logging.WARNING, "micgraph"):
        rec.observe("u01", "i01", 1)
        assert not caplog.records
        rec.observe(["u01", "u02", "new"], ["zz", "i02", "zy"], [1, 2, 3])
        rec.observe("u01", "zx", 4)
    (told,) = caplog.messages
    assert told.startswith("observed: 2 of 3 clicks are on items that the graph does not know (such as 'zz')")
    assert sum(map(len, store.rows.values())) == 5 * 16


def test_clicks_of_the_future_are_kept_and_told_of(world, caplog):
    store, now = MemoryStore(), datetime.now(UTC)
    rec = Recommender(world(), store=store)
    with caplog.at_level(logging.WARNING, "micgraph"):
        rec.observe(["u01", "u02"], ["i01", "i02"], [now, now + timedelta(hours=23)])
        assert not caplog.records
        rec.observe(["u01", "u02"], ["i03", "i03"], [now, "2150-01-01"])
        rec.observe("u01", "i04", "2150-01-02")
    (told,) = caplog.messages
    assert told.startswith("observed: 1 of 2 clicks are more than a day ahead") and "2150-01-01 00:00:00" in told
    assert sum(map(len, store.rows.values())) == 5 * 16


def test_an_empty_text_is_an_id_where_the_graph_has_it():
    some = IdMap(pa.array(["", "a"]))
    assert events_of("", "", 1, some, some).users == [b"s"]


def test_an_unknown_user_is_told_of_both_ways_to_be_served(world):
    store = MemoryStore()
    with pytest.raises(UnknownIdError, match="got 'who'; pass .*histories=.*; or open the recommender with store="):
        Recommender(world()).recommend("who", k=1)
    rec = Recommender(world(), store=store)
    with pytest.raises(UnknownIdError, match=r"got 'who'; observe a click of the person first, or pass .*histories="):
        rec.recommend(["u01", "who"], k=1)
    rec.observe("who", "i01", 1)
    assert len(rec.recommend(["u01", "who"], k=1)) == 2
