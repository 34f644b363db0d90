"""The kept hash table finds what a dictionary finds, whatever the type, the slice and the collisions."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.id_kernel import hashed
from micgraph.id_table import IdTable
from micgraph.ids import IdMap

IDS = {
    "integers": st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20),
    "texts": st.text("ab\0é", max_size=4) | st.text(max_size=30),
    "bytes": st.binary(min_size=16, max_size=16),
}
TYPES = {
    "integers": [pa.int64()],
    "texts": [pa.string(), pa.large_string(), pa.string_view()],
    "bytes": [pa.binary(16)],
}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(IDS)))
def test_finds_what_a_dictionary_finds(data: st.DataObject, kind: str) -> None:
    arrow = data.draw(st.sampled_from(TYPES[kind]))
    known = data.draw(st.lists(IDS[kind], unique=True, max_size=60))
    wanted = data.draw(st.lists(st.sampled_from(known) | IDS[kind] | st.none() if known else IDS[kind], max_size=40))
    oracle = {value: number for number, value in enumerate(known)}
    found = IdTable(pa.array(known, arrow)).find(pa.array(wanted, arrow))
    assert found.dtype == np.int64 and found.tolist() == [oracle.get(value, -1) for value in wanted]


@pytest.mark.parametrize("values", [list(range(50)), [f"id {n}" for n in range(50)]], ids=["integers", "texts"])
def test_parts_of_arrays_are_read_where_they_begin(values: list[Any]) -> None:
    whole = pa.array(values)
    table = IdTable(whole[10:40])
    assert table.find(whole[5:45]).tolist() == [-1] * 5 + list(range(30)) + [-1] * 5


def test_ids_of_one_slot_are_told_apart() -> None:
    texts = [f"t{n}" for n in range(200)]
    codes = [int(hashed(np.frombuffer(text.encode(), np.uint8), 0, len(text))) for text in texts]
    same = [text for text, code in zip(texts, codes, strict=True) if code % 16 == codes[0] % 16][:7]
    assert len(same) == 7
    table = IdTable(pa.array(same[:6]))
    assert len(table._slots) == 16 and table.find(pa.array(same)).tolist() == [0, 1, 2, 3, 4, 5, -1]


def test_a_map_makes_its_table_once() -> None:
    ids = IdMap.build([uuid.UUID(int=n) for n in range(9)])
    assert ids.index([uuid.UUID(int=7), uuid.UUID(int=70)]).tolist() == [7, -1]
    table = ids._table
    assert ids.index([uuid.UUID(int=3)]).tolist() == [3] and ids._table is table


def test_hashes_spread() -> None:
    """Ids that count up take about as many first slots as random ones: 1 - exp(-1/2) of half-filled tables' slots."""
    names = [f"u{n:07}".encode() for n in range(4_096)]
    for data in (names, [int(n).to_bytes(8, "little") for n in range(4_096)]):
        slots = {int(hashed(np.frombuffer(one, np.uint8), 0, len(one))) % 8_192 for one in data}
        assert abs(len(slots) / 8_192 - (1 - np.exp(-0.5))) < 0.02
