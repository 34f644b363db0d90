"""Mutations of columns and of how micgraph is called."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np

from tests.fuzz.inputs import Input, mutator, one_of

NAMES = [
    "", " ", "User_ID", "USER_ID", "user id", " user_id", "user_id ", "userid", "Item_Id", "TITLE", "Tags", "select",
    "order",
    "group", "reason", "place", "micgraph_place", "n", "size", "rowid", "part", "h", "events", "a.b", 'a"b', "a'b",
    "a,b",
    "日本", "e\u0301", "👍", "x" * 3_000, "\x00", "col\nname", "__index_level_0__", "values", "offsets", "embedding",
    "category",
    "tags", "title", "provider", "timestamp", "user_id", "item_id", "weight", "session_id", "1", "-", "{events}", "%",
    "\\",
]  # fmt: skip

COLUMNS: list[Any] = [
    {"user_id": "user_id"}, {"user_id": "item_id", "item_id": "user_id"}, {"timestamp": "time"}, {"itemid": "item_id"},
    {"user_id": "USER_ID"}, {"session_id": "user_id"}, {"weight": "ordinal"}, {"user_id": ""}, {"": "user_id"},
    {"user_id": None}, {"user_id": 5}, {5: "user_id"}, {"title": "item_id"}, {"event": "user_id"},
    {"item_id": "user_id"},
    {"user_id": ["a"]}, {"tags": "category"}, {"category": "title", "title": "category"}, {"ordinal": "weight"},
    "user_id",
    ["user_id"], 5, {"user_id": "a\x00b"}, {"embedding": "year"}, {"duration": "timestamp"}, {"x" * 5_000: "user_id"},
]  # fmt: skip

OTHERS: dict[str, list[Any]] = {
    "positive_events": [["click"], ["view", "click"], [], [None], "click", 5, ["buy"], [1], [True], [math.nan],
    [["a"]], {"a": 1},
                        [b"x"], ["'"], ["\x00"], [2**70]],
    "time_unit": ["s", "ms", "us", "ns", "auto", "S", "m", None, 5, ["s"], {}, ""],
    "time_format": ["%Y-%m-%d %H:%M:%S", "%d/%m/%Y", "%Q", "", "%", "%%", 5, "%s", "%Y" * 500, "\x00", "%z", "%-d",
    ["%Y"]],
    "memory_limit": ["1GB", "2 GB", "10KB", "lots", "-1GB", "1e400GB", 5, "", "nanGB"],
    "encoding": ["utf-8", "latin-1", "utf-16", "cp1252", "UTF8", "klingon", "", 5, "utf-8\x00", "hex", "idna"],
    "engine": ["duckdb", "DuckDB", "polars", None, 5, []],
    "spark_master": ["local[1]", 5],
}  # fmt: skip

BUILDS: dict[str, list[Any]] = {
    "session_gap": ["30m", "1h", "0s", "-1h", "1y", "", 5, None, "1h30m", "nan", "1e400h", "inf", "99999999999d",
    "１h", [1]],
    "session_span": ["30m", "2h", "0s", "x", None, "99999d"],
    "co_occurs_top_k": [1, 2, 0, -1, None, 2.5, "a", True, 10**30, math.nan],
    "semantic": ["auto", ["title"], ["tags", "category"], ["embedding"], [], ["x"], "title", {"title": 3, "tags": 1},
                 {"title": 0}, {"title": math.inf}, {"title": "a"}, {"x": 1}, None, 5, [["title"]], {},
                 {"category": 1e-300}],
    "encode": ["tfidf", "bert", None, 5, "", []],
    "semantic_k": [1, 3, 0, -1, 10**6, 10**30, 2.5, "a", None],
    "semantic_search": ["exact", "ivf", "auto", "fast", None],
    "keep_unclicked": [True, False, "yes", "maybe", None, 5],
    "max_pairs_per_session": [1, 2, 6, 0, None, 10**30, "a"],
    "memory_limit": ["1GB", "1MB", "x", None, 10**30],
    "seesion_gap": ["1h"],
    "engine": ["duckdb", "x"],
}  # fmt: skip

SPLITS: list[dict[str, Any]] = [
    {"kind": "temporal", "test": value} for value in ["0d", "-1d", "1e400d", "x", 5, None, timedelta(hours=3), "1s",
    "20h"]
] + [
    {"kind": "temporal", "cut": value, "test": "5h", "valid": None}
    for value in ["2024-03-01T20:00", "2024-03-01 20:00:00+09:00", "x", 5, math.nan, math.inf, "9999-12-31", -1e300,
        True, []]
] + [
    {"kind": "user_holdout", "min_item": 1, "min_user": 1, **more}
    for more in [{"fractions": [0.5, 0.5]}, {"fractions": [math.nan] * 3}, {"history": 0}, {"history": 1e-9},
        {"seed": -1},
                 {"seed": 2**70}, {"fractions": [0.4, 0, 0.6]}, {"fractions": "abc"}, {"history": math.nan},
                 {"min_item": 3}]
] + [{"kind": "random"}, {"kind": None}, {"kind": "leave_last_out", "seed": 1}, {"kind": ["temporal"]}, {}]  # fmt: skip


@mutator("arguments")
def columns_argument(made: Input, rng: np.random.Generator) -> None:
    made.arguments["columns"] = one_of(rng, COLUMNS)


@mutator("arguments")
def other_argument(made: Input, rng: np.random.Generator) -> None:
    name = one_of(rng, OTHERS)
    made.arguments[name] = one_of(rng, OTHERS[name])


@mutator("arguments")
def build_settings(made: Input, rng: np.random.Generator) -> None:
    name = one_of(rng, BUILDS)
    made.config[name] = one_of(rng, BUILDS[name])


@mutator("arguments")
def split_arguments(made: Input, rng: np.random.Generator) -> None:
    made.split = dict(one_of(rng, SPLITS))


@mutator("columns")
def column_missing(made: Input, rng: np.random.Generator) -> None:
    table = made.tables[one_of(rng, made.tables)]
    if len(table) > 1:
        del table[one_of(rng, table)]


@mutator("columns")
def column_renamed(made: Input, rng: np.random.Generator) -> None:
    name = one_of(rng, made.tables)
    old, new = one_of(rng, made.tables[name]), one_of(rng, NAMES)
    made.tables[name] = {new if key == old else key: values for key, values in made.tables[name].items()}
    if name == "log" and old in ("user_id", "item_id", "timestamp") and rng.random() < 0.6:
        made.arguments["columns"] = {old: new}


@mutator("columns")
def column_more(made: Input, rng: np.random.Generator) -> None:
    table = made.tables[one_of(rng, made.tables)]
    new, copied = one_of(rng, NAMES), one_of(rng, table)
    table.setdefault(new, list(table[copied]))


@mutator("columns")
def column_order(made: Input, rng: np.random.Generator) -> None:
    name = one_of(rng, made.tables)
    table = made.tables[name]
    made.tables[name] = {key: table[key] for key in rng.permutation(list(table))}


@mutator("columns")
def tables_exchanged(made: Input, rng: np.random.Generator) -> None:
    names = list(made.tables)
    one, other = one_of(rng, names), one_of(rng, names)
    made.tables[one], made.tables[other] = made.tables[other], made.tables[one]


@mutator("columns")
def column_of_every_name(made: Input, rng: np.random.Generator) -> None:
    table = made.tables[one_of(rng, made.tables)]
    rows = len(next(iter(table.values())))
    for new in NAMES[:30]:
        table.setdefault(new, [one_of(rng, [1, "a", None])] * rows)
