"""Codes of one graph in another's: against dictionaries, for graphs that number everything differently."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph.alignment import earlier_codes, rescaling
from micgraph.graph.fields import Field
from micgraph.graph.recgraph import RecGraph
from micgraph.ids import IdMap
from micgraph.schema import InputError

NAMES = st.lists(st.sampled_from([f"n{i}" for i in range(12)]), unique=True, max_size=12)
CODED_IDS = st.lists(st.tuples(st.integers(0, 12), st.booleans()), unique_by=lambda pair: pair[0], max_size=12)


def graph(ids: list, codes: list[int], values: list[str], year: tuple[float, float] = (0.0, 1.0)) -> RecGraph:
    """Items in the order of ``ids``, their id's codes, and a category whose vocabulary has this order."""
    fields = [
        Field("item_id", "categorical", max(codes, default=0) + 1, torch.tensor(codes, dtype=torch.int32)),
        Field("category", "categorical", len(values) + 1, torch.zeros(len(ids), dtype=torch.int32)),
        Field("year", "dense", 1, torch.zeros(len(ids), 1)),
    ]
    vocab = {"category": pa.array(values, pa.large_string()), "year": pa.array(year)}
    kind = pa.string() if ids and isinstance(ids[0], str) else pa.int64()
    return RecGraph({}, {f.name: f for f in fields}, {}, items=IdMap(pa.array(ids, kind)), item_vocab=vocab)


def coded(pairs: list[tuple[int, bool]]) -> tuple[list[int], list[int]]:
    """Ids, and codes that count those that a tower can learn, last one first: no order is relied on."""
    left = sum(learnt for _, learnt in pairs)
    codes = []
    for _, learnt in pairs:
        codes.append(left if learnt else 0)
        left -= learnt
    return [number for number, _ in pairs], codes


@given(old=CODED_IDS, new=CODED_IDS)
def test_codes_of_ids(old: list, new: list) -> None:
    (old_ids, old_codes), (new_ids, new_codes) = coded(old), coded(new)
    before = {number: code for number, code in zip(old_ids, old_codes, strict=True) if code}
    expected = [0] + [-1] * max(new_codes, default=0)
    for number, code in zip(new_ids, new_codes, strict=True):
        if code:
            expected[code] = before.get(number, -1)
    found = earlier_codes(graph(old_ids, old_codes, []), graph(new_ids, new_codes, []), "item", "item_id")
    assert found.dtype == torch.int64 and found.tolist() == expected


@given(old=NAMES, new=NAMES)
def test_codes_of_values(old: list[str], new: list[str]) -> None:
    expected = [0] + [old.index(value) + 1 if value in old else -1 for value in new]
    found = earlier_codes(graph([], [], old), graph([], [], new), "item", "category")
    assert found.dtype == torch.int64 and found.tolist() == expected


def test_standardised_numbers_become_the_earlier_ones() -> None:
    raw = np.array([1990.0, 2001.0, 2024.0])
    before, now = (2000.0, 4.0), (2010.0, 10.0)
    scale, shift = rescaling(graph([], [], [], before), graph([], [], [], now), "item", "year")
    np.testing.assert_allclose(scale * (raw - now[0]) / now[1] + shift, (raw - before[0]) / before[1])


def test_what_cannot_be_matched_is_refused() -> None:
    known, other = graph([1, 2], [1, 2], ["a"]), graph(["1", "2"], [1, 2], ["a"])
    with pytest.raises(InputError, match=r"item_id: expected integers such as 1.*texts such as '1'"):
        earlier_codes(known, other, "item", "item_id")
    bare = RecGraph({}, known.item_fields, {})
    for graphs in ((known, bare), (bare, known)):
        with pytest.raises(InputError, match="every item_id"):
            earlier_codes(*graphs, "item", "item_id")
        with pytest.raises(InputError, match="values of item category"):
            earlier_codes(*graphs, "item", "category")
        with pytest.raises(InputError, match="mean and deviation of item year"):
            rescaling(*graphs, "item", "year")
