"""Numbers of items within a batch, by either program, against Python's own sets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.sampling import local
from micgraph.sampling.local import Local, distinct, every
from tests.edge_lists import tensor

Way = Callable[..., Local]


def _looked_up(made: Local, items: torch.Tensor) -> torch.Tensor:
    return local._places_by_tensors(made.slot, items, None)


WAYS = pytest.mark.parametrize(
    ("way", "places"),
    [
        (distinct, Local.places),
        (local._distinct_by_tensors, lambda made, x: local._places_by_tensors(made.slot, x, None)),
    ],
    ids=["cpu", "gpu"],
)


@WAYS
@given(n=st.integers(1, 40), data=st.data())
def test_each_item_once_in_order(way: Way, places: Callable[..., torch.Tensor], n: int, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.lists(st.integers(-1, n - 1), max_size=12), min_size=1, max_size=3))
    made = way([tensor(one) for one in wanted], n)
    expected = sorted({item for one in wanted for item in one if item >= 0})
    assert made.items.tolist() == expected and made.items.dtype == torch.int64
    for one in wanted:
        found = places(made, tensor(one)[None])
        assert found.tolist() == [[expected.index(item) if item >= 0 else -1 for item in one]]


@WAYS
def test_any_shape_and_the_last_item(way: Way, places: Callable[..., torch.Tensor]) -> None:
    made = way([tensor([[16, -1], [3, 16]])], 17)
    assert made.items.tolist() == [3, 16]
    assert places(made, tensor([[16, -1], [3, 16]])).tolist() == [[1, -1], [0, 1]]


def test_places_may_take_the_room_of_their_items() -> None:
    made, asked = distinct([tensor([7, 2])], 9), tensor([[2, -1, 7]])
    assert made.places(asked, out=asked) is asked
    assert asked.tolist() == [[0, -1, 1]]


def test_all_items_keep_their_numbers() -> None:
    made = every(5, torch.device("cpu"))
    assert made.items.tolist() == list(range(5))
    assert made.places(tensor([4, -1, 0])).tolist() == [4, -1, 0]
