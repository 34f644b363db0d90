"""External ids come back as they were given, whatever their type, and unknown ones are -1."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micgraph.ids import IdMap
from micgraph.schema import ArtifactError, InputError, SchemaError

UUIDS = [uuid.UUID(int=n) for n in (5, 2, 2**127 + 1)]
KINDS = {
    "int64": pa.array([3, -7, 2**62], pa.int64()),
    "int32": pa.array([3, -7, 9], pa.int32()),
    "uint64": pa.array([2**64 - 1, 0, 4], pa.uint64()),
    "string": pa.array(["été", "", "日本"]),
    "large_string": pa.array(["b", "ä", "a"], pa.large_string()),
    "uuid": pa.array(UUIDS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_return_as_given(kind: str, tmp_path: Path) -> None:
    given_ids = KINDS[kind]
    ids = IdMap.build(given_ids)
    assert sorted(ids.index(given_ids).tolist()) == [0, 1, 2]
    assert ids.ids(ids.index(given_ids)).equals(given_ids)
    ids.save(tmp_path / "ids.parquet")
    loaded = IdMap.load(tmp_path / "ids.parquet")
    assert loaded.values.equals(ids.values) and loaded.values.type == given_ids.type


@given(st.lists(st.integers(-(2**63), 2**63 - 1)) | st.lists(st.text(max_size=4)), st.randoms())
def test_numbers_follow_the_sorted_ids_whatever_the_order_of_rows(values: list, random) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)
    ids = IdMap.build(shuffled)
    expected = sorted(set(values), key=lambda v: v.encode() if isinstance(v, str) else v)
    assert ids.values.to_pylist() == expected
    assert ids.index(values).tolist() == [expected.index(v) for v in values]


@pytest.mark.parametrize(
    "wanted",
    [
        [20, 99, 10],
        (20, 99, 10),
        np.array([20, 99, 10], dtype=np.uint8),
        pd.Series([20.0, np.nan, 10.0]),
        pd.Series([20, 99, 10], dtype="category"),
        pl.Series([20, 99, 10], dtype=pl.Int16),
        pa.chunked_array([[20, None], [10]]),
        pa.array([20, 2**64 - 1, 10], pa.uint64()),
        [20, None, 10],
    ],
)
def test_any_container_and_width_is_looked_up(wanted) -> None:
    index = IdMap.build(pa.array([10, 20], pa.int32())).index(wanted)
    assert index.dtype == np.int64 and index.tolist() == [1, -1, 0]


def test_strings_are_looked_up_across_widths() -> None:
    ids = IdMap.build(pa.array(["a", "b"]))
    assert ids.index(pl.Series(["b", "c"])).tolist() == [1, -1]
    assert ids.index(pa.array(["b", None], pa.large_string())).tolist() == [1, -1]


@pytest.mark.parametrize("wanted", [["1", "2"], [True, False], [1.5, 2.0], UUIDS[:2], [None, None]])
def test_ids_of_another_type_are_unknown(wanted: list) -> None:
    assert IdMap.build([0, 1, 2]).index(wanted).tolist() == [-1, -1]


def test_nothing_to_look_up() -> None:
    assert IdMap.build(["a"]).index([]).tolist() == []
    assert IdMap.build(pa.array([], pa.string())).index(["a"]).tolist() == [-1]


def test_mixed_types_are_refused() -> None:
    with pytest.raises(InputError, match="ids of one type"):
        IdMap.build(["a"]).index(["a", 1])


def test_padding_becomes_null() -> None:
    assert IdMap.build(["a", "b"]).ids([1, -1]).to_pylist() == ["b", None]
    assert IdMap.build(UUIDS).ids([-1, 0]).to_pylist() == [None, UUIDS[1]]


@pytest.mark.parametrize("values", [["a", "a"], ["a", None]])
def test_a_map_needs_distinct_ids(values: list) -> None:
    with pytest.raises(InputError, match="distinct ids"):
        IdMap(pa.array(values))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [([5, 9], [1, 9, 7, 7, None], [5, 9, 1, 7]), (["b"], ["c", "a"], ["b", "a", "c"]), (UUIDS[:1], UUIDS, None)],
)
def test_extend_keeps_old_numbers(old: list, new: list, expected: list | None) -> None:
    ids = IdMap.build(old)
    extended = ids.extend(new)
    assert extended.values.to_pylist() == (expected or [UUIDS[0], UUIDS[1], UUIDS[2]])
    assert extended.index(old).tolist() == ids.index(old).tolist()


@pytest.mark.parametrize("new", [["a"], [1.5], [300]])
def test_extend_refuses_another_type_and_what_does_not_fit(new: list) -> None:
    with pytest.raises(SchemaError):
        IdMap.build(pa.array([1], pa.int8())).extend(new)


def test_load_names_a_missing_and_a_foreign_file(tmp_path: Path) -> None:
    (tmp_path / "foreign.parquet").write_bytes(b"not parquet at all")
    for name in ("missing.parquet", "foreign.parquet"):
        with pytest.raises(ArtifactError, match=name):
            IdMap.load(tmp_path / name)
