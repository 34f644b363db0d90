"""Fields of chosen nodes, against lists."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph.fields import Field, take

codes = st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=5)


def multi(rows: list[list[int]]) -> Field:
    offsets = torch.tensor([0] + [len(r) for r in rows]).cumsum(0)
    return Field("tags", "multi", 5, torch.tensor([c for r in rows for c in r], dtype=torch.int32), offsets)


def as_lists(field: Field) -> list[list[int]]:
    assert field.offsets is not None
    return [field.values[a:b].tolist() for a, b in zip(field.offsets[:-1], field.offsets[1:], strict=True)]


@given(codes, st.data())
def test_take_follows_the_index_and_blanks_the_unknown(rows: list[list[int]], data: st.DataObject) -> None:
    index = data.draw(st.lists(st.integers(-1, len(rows) - 1), max_size=6))
    single = Field("c", "categorical", 9, torch.arange(1, len(rows) + 1, dtype=torch.int32))
    dense = Field("d", "dense", 2, torch.arange(1.0, 2 * len(rows) + 1).view(-1, 2))
    taken = take({"tags": multi(rows), "c": single, "d": dense}, torch.tensor(index, dtype=torch.int64))
    assert as_lists(taken["tags"]) == [rows[i] if i >= 0 else [] for i in index]
    assert taken["c"].values.tolist() == [i + 1 for i in index]
    assert taken["d"].values.tolist() == [[2.0 * i + 1, 2.0 * i + 2] if i >= 0 else [0.0, 0.0] for i in index]
    assert [len(f) for f in taken.values()] == [len(index)] * 3
    assert taken["c"].values.dtype == torch.int32 and taken["d"].values.shape == (len(index), 2)


@given(codes)
def test_first_of_several_codes(rows: list[list[int]]) -> None:
    assert multi(rows).first().tolist() == [r[0] if r else 0 for r in rows]


def test_fields_of_no_nodes() -> None:
    unknown = torch.tensor([-1, -1])
    empty = {
        "c": Field("c", "categorical", 1, torch.zeros(0, dtype=torch.int32)),
        "d": Field("d", "dense", 3, torch.zeros(0, 3)),
        "tags": multi([]),
    }
    taken = take(empty, unknown)
    assert taken["c"].values.tolist() == [0, 0]
    assert taken["d"].values.tolist() == [[0.0] * 3] * 2
    assert as_lists(taken["tags"]) == [[], []]
