"""What any log becomes: checked, in one order, every refused row counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.graph import ingest
from micgraph.graph.events import read_log
from micgraph.graph.staging import DUPLICATE
from micgraph.schema import InputError, SchemaError

DAY = 1_577_836_800  # 2020-01-01 UTC


def table(**columns: object) -> pa.Table:
    base = {"user_id": [1, 1, 2], "item_id": ["a", "b", "a"], "timestamp": [DAY, DAY + 1, DAY + 2]}
    return pa.table({**base, **columns})


# Refusals


@pytest.mark.parametrize("name", ["user_id", "item_id", "timestamp"])
def test_missing_columns(name: str) -> None:
    with pytest.raises(SchemaError, match=f"a column '{name}'.*columns="):
        read_log(table().drop_columns(name))
    with pytest.raises(SchemaError, match="a column 'click'"):
        read_log(table(), columns={name: "click"})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("user_id", [[1], [2], [3]]),
        ("item_id", [1.5, 2.0, 3.0]),
        ("user_id", [True, False, True]),
        ("timestamp", [True, False, True]),
        ("timestamp", [[1], [2], [3]]),
        ("ordinal", ["first", "second", "third"]),
        ("weight", ["a", "b", "c"]),
        ("duration", [[1.0], [2.0], [3.0]]),
    ],
)
def test_wrong_types(name: str, values: list) -> None:
    with pytest.raises(SchemaError, match=f"log.{name}"):
        read_log(table(**{name: values}))


def test_mixed_types_in_a_pandas_column() -> None:
    with pytest.raises(InputError, match="log: expected a readable table"):
        read_log(pd.DataFrame({"user_id": [1, "a"], "item_id": [1, 2], "timestamp": [1, 2]}))


def test_each_refused_row_has_one_reason() -> None:
    rows = pa.table(
        {
            "user_id": [None, 1, 1, 1, 1, 1, 1],
            "item_id": ["a", None, "a", "a", "a", "a", "a"],
            "timestamp": [None, DAY, None, DAY, DAY, DAY, DAY + 1],
            "event": ["click", "click", "click", "view", None, "click", "buy"],
            "weight": [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 2.0],
        }
    )
    log = read_log(rows, positive_events=["click", "buy"])
    expected = {"null user_id": 1, "null item_id": 1, "null timestamp": 1, "not a positive event": 2, "weight <= 0": 1}
    assert log.refused == expected
    assert log.arrow().to_pylist() == [
        {"user_id": 1, "item_id": "a", "timestamp": (DAY + 1) * 10**6, "ordinal": 0, "weight": 2.0}
    ]
    with pytest.raises(SchemaError, match="a column 'event'"):
        read_log(table(), positive_events=["click"])


@pytest.mark.parametrize(
    ("events", "positive", "kept"),
    [
        ([0.0, 1.0, 1.0], [1], 2),
        ([0.0, 1.0, None], [1.0], 1),
        ([0.5, 1.0, 1.0], [0.5], 1),
        (pa.array([0, 1, 1], pa.float32()), [True], 2),
        (pa.array(["0.00", "1.00", "2.00"]).cast(pa.decimal128(6, 2)), [1, 2.0], 2),
        ([3, 1, 1], [1.0, "3"], 3),
        ([True, False, None], [True], 1),
        ([True, False, None], np.array([False]), 1),
        ([True, False, None], [1], 1),
        (["click", "it's", "view"], ["it's"], 1),
        (["1.0", "1", "view"], ["1"], 1),
        (pa.array(["click", "view", "click"]).dictionary_encode(), ("click",), 2),
        (["click", "buy", "view"], {"click", "buy"}, 2),
    ],
)
def test_positive_events_are_compared_in_the_columns_type(events: Any, positive: Any, kept: int) -> None:
    log = read_log(table(event=events), positive_events=positive)
    assert len(log) == kept and log.refused == ({"not a positive event": 3 - kept} if kept < 3 else {})


@pytest.mark.parametrize("positive", ["click", b"click", 1, True])
def test_positive_events_that_are_no_list(positive: Any) -> None:
    with pytest.raises(InputError, match=r"positive_events: expected a list of values, .* write it as \[") as caught:
        read_log(table(event=["click"] * 3), positive_events=positive)
    assert caught.value.remedy == f"write it as [{positive!r}]"


def test_where_no_event_is_positive_the_values_are_named() -> None:
    with pytest.raises(InputError, match=r"log.event: expected a row with one of \['Click'\], got only 'click', 'buy'"):
        read_log(table(event=["click", "click", "buy"]), positive_events=["Click"])
    with pytest.raises(InputError, match=r"one of \[2\], got only True, None;"):
        read_log(table(event=[True, True, None]), positive_events=[2])
    with pytest.raises(InputError, match="one of \\[\\], got only 'a'"):
        read_log(table(event=["a"] * 3), positive_events=[])
    many = pa.table({"user_id": range(9), "item_id": range(9), "timestamp": range(9), "event": list("abcdefghi")})
    with pytest.raises(InputError, match=r"got only 'a', .*'h', \.\.\.;"):
        read_log(many, positive_events=["z"])


def test_one_event_stays_of_each_user_item_and_second() -> None:
    rows = pa.table(
        {
            "user_id": [1, 1, 1, 1, 2, 1],
            "item_id": [5, 5, 5, 5, 5, 5],
            "timestamp": [DAY + 0.9, DAY + 0.1, DAY + 0.1, DAY + 1.0, DAY + 0.1, -0.5],
            "ordinal": [0, 2, 1, 0, 0, 0],
        }
    )
    log = read_log(rows)
    kept = [(r["user_id"], r["timestamp"] / 1e6, r["ordinal"]) for r in log.arrow().to_pylist()]
    assert kept == [(1, -0.5, 0), (1, DAY + 0.1, 1), (1, DAY + 1.0, 0), (2, DAY + 0.1, 0)]
    assert log.refused == {DUPLICATE: 2}


@pytest.mark.parametrize("rows", [table().slice(0, 0), table(user_id=pa.nulls(3)), pa.table(table().to_pandas()[:0])])
def test_a_log_without_usable_rows(rows: pa.Table) -> None:
    with pytest.raises(InputError, match="at least one usable event"):
        read_log(rows)


def test_one_user_and_one_item() -> None:
    log = read_log(pa.table({"user_id": [1], "item_id": [2], "timestamp": [DAY]}))
    assert len(log) == 1 and "1 events, 1 users, 1 items" in repr(log)


# Feature tables


def test_feature_tables_keep_one_row_an_id_and_count_the_rest() -> None:
    items = pa.table({"item_id": ["b", "a", "a", None, "unknown"], "title": ["B", "2", "1", "?", "U"]})
    for rows in (items, items.take([4, 3, 2, 1, 0])):
        log = read_log(table(item_id=["a", "b", "c"]), items=rows)
        found = dict(zip(*log.sql("SELECT * FROM {items}").to_pydict().values(), strict=True))
        assert found == {"a": "1", "b": "B", "unknown": "U"}
        assert log.refused == {"items: null id": 1, "items: duplicate id": 1}
        assert log.unmatched() == {"items: rows without events": 1, "items: ids without a row": 1}


def test_feature_ids_must_be_comparable_to_the_logs() -> None:
    with pytest.raises(SchemaError, match=r"users.user_id: expected integer ids as in the log, got text ids"):
        read_log(table(), users=pa.table({"user_id": ["1"], "age": [3]}))
    with pytest.raises(SchemaError, match="users: expected a column 'user_id'"):
        read_log(table(), users=pa.table({"uid": [1]}))
    narrow = read_log(table(), users=pa.table({"user_id": pa.array([1], pa.int8()), "age": [3]}))
    assert narrow.unmatched() == {"users: rows without events": 0, "users: ids without a row": 1}


def test_integers_of_a_csv_feature_table_match_ids_that_are_text(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n1,one\n2,two\n")
    log = read_log(table(item_id=["1", "x", "1"]), items=tmp_path / "items.csv")
    assert log.sql("SELECT item_id FROM {items} ORDER BY 1").to_pydict() == {"item_id": ["1", "2"]}
    assert log.unmatched() == {"items: rows without events": 1, "items: ids without a row": 1}


def test_a_query_needs_its_table() -> None:
    with pytest.raises(InputError, match="items="):
        read_log(table()).sql("SELECT * FROM {items}")


def test_filter_and_parameters() -> None:
    log = read_log(table(session_id=["s", "s", "t"], duration=[1, 2, 3], extra=[0, 0, 0]))
    assert log.columns == ("user_id", "item_id", "timestamp", "ordinal", "session_id", "duration")
    part = log.filter("e.session_id = 's'", {"part": "train"})
    assert len(part) == 2 and len(log) == 3 and part.manifest == {"part": "train"} and log.manifest is None
    assert part.scalar("SELECT count(*) FROM {events} WHERE item_id = $item", item="b") == 1


# Order

ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.integers(0, 8), st.integers(0, 2), st.integers(0, 3)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=12)
@given(rows=ROWS, random=st.randoms(), threads=st.integers(1, 3))
def test_events_do_not_depend_on_the_order_of_rows_files_or_threads(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple], random, threads: int
) -> None:
    expected = first_of_each_second(rows)
    random.shuffle(rows)
    folder, names = tmp_path_factory.mktemp("files"), ["x.parquet", "y.parquet"]
    random.shuffle(names)
    half = random.randrange(len(rows) + 1)
    for name, part in zip(names, (rows[:half], rows[half:]), strict=True):
        pq.write_table(quarter_seconds(part), folder / name)
    connect = ingest.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "connect", lambda limit: connect_with(connect, threads))
        log = read_log(str(folder / "*.parquet"))
    events = log.arrow()
    found = zip(*(events[name].to_pylist() for name in ("user_id", "item_id", "timestamp", "ordinal")), strict=True)
    assert [(*row, session) for row, session in zip(found, events["session_id"].to_pylist(), strict=True)] == expected


def connect_with(connect, threads: int) -> duckdb.DuckDBPyConnection:
    con = connect()
    con.execute(f"SET threads = {threads}")
    return con


def quarter_seconds(rows: list[tuple]) -> pa.Table:
    names = ("user_id", "item_id", "timestamp", "ordinal", "session_id")
    kinds = (pa.int64(), pa.string(), pa.float64(), pa.int64(), pa.int64())
    columns = list(zip(*[(u, i, t / 4, o, s) for u, i, t, o, s in rows], strict=True)) or [()] * 5
    return pa.table({n: pa.array(c, k) for n, c, k in zip(names, columns, kinds, strict=True)})


def first_of_each_second(rows: list[tuple]) -> list[tuple]:
    first: dict[tuple, tuple] = {}
    for user, item, quarter, ordinal, session in rows:
        key, value = (user, item, quarter // 4), (quarter * 250_000, ordinal, session)
        first[key] = min(value, first.get(key, value))
    events = [(user, item, *value) for (user, item, _), value in first.items()]
    return sorted(events, key=lambda e: (e[0], e[2], e[3], e[1]))
