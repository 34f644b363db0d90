"""Mutations of values: odd times, ids and numbers, rows twice, rows missing."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from tests.fuzz.inputs import Input, mutator, one_of, some

TIMES: list[Any] = [
    "", None, "yesterday", "2024-03-01", "2024-03-01T10:00:00Z", "2024-03-01T10:00:00+05:45", "2024-03-31 02:30:00",
    "2024/03/01 10:00", "01/03/2024 10:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59", "30000-01-01 00:00:00",
    "2024-02-30 10:00", "2024-13-01", "1969-12-31 23:59:59", "-0044-03-15", "infinity", "-infinity", "nan", "NaN",
    "inf",
    "epoch", "now", "today", "2024-03-01 10:00:00.123456789", "2024-03-01 10:00:00 Europe/Paris", "1e9", "1.5e9",
    "1709287200", "1709287200.5", "1709287200000", " 1709287200 ", "0", "-1", "99999999999999999999", "1e400", "0x10",
    0, -1, 1, 1709287200, 1709287200.25, 1709287200000, 1709287200000000, 1709287200000000000, 2**31, 2**63 - 1,
    -(2**63),
    -1709287200, math.nan, math.inf, -math.inf, 1e300, True, "١٧٠٩٢٨٧٢٠٠", "2024-03-01\n10:00", "2024-03-01\x0010:00",
    datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), datetime(2024, 3, 1, 10), date(2024, 3, 1),
    datetime(2024, 3, 1, 10, tzinfo=timezone(timedelta(hours=5, minutes=45))),
]  # fmt: skip

IDS: list[Any] = [
    "", None, " ", "  u0", "u0 ", "U0", "0", "00", "007", "7", "7.0", "-7", "+7", "1e5", "nan", "NaN", "NULL", "null",
    "None",
    "\\N", "NA", "true", "inf", "é", "e\u0301", "日本語", "👩‍👩‍👧", "\u202eabc", "\ufeffu0", "a\x00b", "a\nb", "a\rb",
    "a\tb",
    "a,b", "a;b", "a|b", 'a"b', "a'b", "'; DROP TABLE events_0; --", "{events}", "{items}", "$n", "%s", "\\", "=1+1",
    "x" * 10_000, "ü" * 5_000, "\ud7ff", "\U0010ffff", str(2**63), str(2**64), 0, 1, -1, 7, 2**31, 2**53 + 1, 2**63 - 1,
    -(2**63), 2**64 - 1, 10**30, 1.0, 7.0, 1.5, -0.0, 1e18, 1e300, math.nan, math.inf, True, False, Decimal("1.10"),
    UUID(int=5), b"bytes", b"\xff\xfe", date(2024, 3, 1), ["u0"], {"id": 1},
]  # fmt: skip

NUMBERS: list[Any] = [
    None, "", "x", "nan", "inf", "-inf", "1e400", "1,5", "0", "-1", "NULL", 0, 1, -1, 2.5, -0.0, 1e-320, 1e308,
    math.nan,
    math.inf, -math.inf, 2**31, 2**63 - 1, -(2**63), 2**64 - 1, 10**40, True, Decimal("0.1"), date(2024, 3, 1), [1],
    b"1",
]  # fmt: skip

WORDS: list[Any] = [
    None, "", " ", "click", "Click", "view", "CLICK ", "日本", "a\x00b", "x" * 5_000, 0, 1, 1.0, True, False, math.nan,
    b"\xff",
    ["click"], {"a": 1}, datetime(2024, 3, 1, tzinfo=UTC), Decimal("1"),
]  # fmt: skip

TAGS: list[Any] = [
    None, "", "a", "a|b", "|", "a||b", "a,b", "a;b", '["a", "b"]', '["a"', "[1, 2]", "[[1]]", '{"a": 1}', "[null]",
    "[]", "[NaN]",
    '[1e999]', "[" * 3_000, "[" + "1" * 5_000 + "]", '["\\ud800"]', "null", 5, 1.5, True, [], ["a", None], [None], [1,
    2], [1.5],
    [["a"]], {"a": 1}, b"\xff", ["x" * 5_000], ["a"] * 500,
]  # fmt: skip

VECTORS: list[Any] = [
    None, [], [1.0], [1.0, 2.0], [0.0, 0.0, 0.0], [math.nan, 1.0, 2.0], [math.inf, 1.0, 2.0], [1e38, 1e38, 1e38],
    [1e300] * 3,
    [1, 2, 3], [None, 1.0, 2.0], ["a", "b", "c"], [[1.0]], "1.0 2.0 3.0", "[1.0, 2.0, 3.0]", 1.0, "", b"abc",
    {"x": 1.0},
    [1e-45, 0.0, 0.0], [True, False, True],
]  # fmt: skip


def put(made: Input, table: str, column: str, pool: list[Any], rng: np.random.Generator) -> None:
    """Values of a pool in a few rows, or one or several of them in all; a column that is missing is added."""
    found = made.tables.get(table)
    if not found:
        return
    rows = len(next(iter(found.values())))
    values = found.setdefault(column, [None] * rows)
    same = one_of(rng, pool)
    alone = rng.random() < 0.5
    for row in some(rng, rows):
        values[row] = same if alone else one_of(rng, pool)


@mutator("values")
def odd_times(made: Input, rng: np.random.Generator) -> None:
    put(made, "log", "timestamp", TIMES, rng)


@mutator("values")
def other_time_axis(made: Input, rng: np.random.Generator) -> None:
    start = one_of(rng, [0, -86_400, 1_709_287_200, 253_402_300_000, -62_135_596_800, 2**31 - 50, 10**15])
    step = one_of(rng, [0, 1, 3_600, 86_400 * 365, 2**26])
    scale = one_of(rng, [1, 1_000, 1_000_000, 1_000_000_000, 0.5])
    rows = len(made.tables["log"]["timestamp"])
    made.tables["log"]["timestamp"] = [(start + step * row) * scale for row in range(rows)]


@mutator("values")
def times_in_a_format(made: Input, rng: np.random.Generator) -> None:
    form = one_of(
        rng, ["%d/%m/%Y %H:%M", "%m/%d/%y", "%Y%m%d", "%d.%m.%Y", "%Y-%m-%dT%H:%M:%S.%f", "%B %d, %Y", "%H:%M"]
    )
    rows = len(made.tables["log"]["timestamp"])
    start = datetime(2024, 3, 1, tzinfo=UTC)
    made.tables["log"]["timestamp"] = [(start + timedelta(hours=7 * row)).strftime(form) for row in range(rows)]
    if rng.random() < 0.5:
        made.arguments["time_format"] = form


@mutator("values")
def odd_users(made: Input, rng: np.random.Generator) -> None:
    put(made, "log", "user_id", IDS, rng)


@mutator("values")
def odd_items(made: Input, rng: np.random.Generator) -> None:
    put(made, "log", "item_id", IDS, rng)


@mutator("values")
def numbered_ids(made: Input, rng: np.random.Generator) -> None:
    kind = one_of(rng, ["int", "negative", "huge", "float", "text", "uuid", "long"])
    change = {
        "int": int, "negative": lambda n: -int(n), "huge": lambda n: 2**63 - 1 - int(n), "float": float,
        "text": lambda n: f"{int(n):03d}", "uuid": lambda n: UUID(int=int(n)), "long": lambda n: n * 4_000,
    }[kind]  # fmt: skip
    column = one_of(rng, ["user_id", "item_id"])
    for name in ("log", "items", "users") if rng.random() < 0.7 else ("log",):
        if column in made.tables.get(name, {}):
            made.tables[name][column] = [_changed(change, value) for value in made.tables[name][column]]


def _changed(change: Any, value: Any) -> Any:
    try:
        return change(str(value)[1:])
    except (ValueError, OverflowError):
        return value


@mutator("values")
def odd_numbers(made: Input, rng: np.random.Generator) -> None:
    put(made, "log", one_of(rng, ["weight", "ordinal", "duration"]), NUMBERS, rng)


@mutator("values")
def odd_sessions(made: Input, rng: np.random.Generator) -> None:
    put(made, "log", "session_id", IDS, rng)


@mutator("values")
def odd_events(made: Input, rng: np.random.Generator) -> None:
    put(made, "log", "event", WORDS, rng)
    if rng.random() < 0.7:
        made.arguments["positive_events"] = [one_of(rng, WORDS)]


@mutator("values")
def no_number(made: Input, rng: np.random.Generator) -> None:
    """NaN among numbers, which Parquet's statistics leave out."""
    put(made, "log", one_of(rng, ["timestamp", "weight", "ordinal", "user_id"]), [math.nan], rng)


@mutator("values")
def rows_again(made: Input, rng: np.random.Generator) -> None:
    table = made.tables[one_of(rng, made.tables)]
    rows = some(rng, len(next(iter(table.values()))))
    for values in table.values():
        values += [values[row] for row in rows]


@mutator("values")
def fewer_rows(made: Input, rng: np.random.Generator) -> None:
    table = made.tables[one_of(rng, made.tables)]
    left = one_of(rng, [0, 1, 2, 3])
    for name in table:
        table[name] = table[name][:left]


@mutator("values")
def one_value(made: Input, rng: np.random.Generator) -> None:
    table = made.tables[one_of(rng, made.tables)]
    name = one_of(rng, table)
    table[name] = [next(iter(table[name]), None)] * len(table[name])


@mutator("values")
def no_value(made: Input, rng: np.random.Generator) -> None:
    table = made.tables[one_of(rng, made.tables)]
    name = one_of(rng, table)
    for row in some(rng, len(table[name])):
        table[name][row] = None


@mutator("values")
def other_order(made: Input, rng: np.random.Generator) -> None:
    table = made.tables[one_of(rng, made.tables)]
    order = rng.permutation(len(next(iter(table.values()))))
    for name in table:
        table[name] = [table[name][row] for row in order]


@mutator("values")
def odd_features(made: Input, rng: np.random.Generator) -> None:
    name = one_of(rng, ["items", "users"])
    column = one_of(rng, ["title", "category", "provider", "country", "extra", "age"])
    put(made, name, column, one_of(rng, [WORDS, NUMBERS, TIMES, IDS]), rng)


@mutator("values")
def odd_tags(made: Input, rng: np.random.Generator) -> None:
    put(made, "items", "tags", TAGS, rng)


@mutator("values")
def odd_vectors(made: Input, rng: np.random.Generator) -> None:
    put(made, "items", one_of(rng, ["embedding", "vector"]), VECTORS, rng)


@mutator("values")
def odd_feature_ids(made: Input, rng: np.random.Generator) -> None:
    name, key = one_of(rng, [("items", "item_id"), ("users", "user_id")])
    put(made, name, key, IDS, rng)
