"""Means of looked-up rows against plain loops, with their gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.nn.lookup import Looked, masked_mean

U = 4
lines = st.lists(st.lists(st.tuples(st.integers(-1, U - 1), st.booleans()), min_size=3, max_size=3), max_size=5)


@pytest.mark.parametrize("inner", [(2,), (3, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(places=lines)
def test_means_and_their_gradients(places: list, inner: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(U, *inner, generator=generator, dtype=dtype).requires_grad_()
    index = torch.tensor([[i for i, _ in line] for line in places], dtype=torch.int64).view(-1, 3)
    mask = torch.tensor([[there for _, there in line] for line in places], dtype=torch.bool).view(-1, 3)
    slope = torch.randn(len(places), *inner, generator=generator, dtype=dtype)
    mean = Looked(table, index).mean(mask)
    (mean * slope).sum().backward()
    want, wanted_slope = torch.zeros(len(places), *inner, dtype=dtype), torch.zeros_like(table)
    for line, found in enumerate(places):
        valid = [i % U for i, there in found if there]
        for i in valid:
            want[line] += table.detach()[i] / len(valid)
            wanted_slope[i] += slope[line] / len(valid)
    torch.testing.assert_close(mean, want)
    torch.testing.assert_close(table.grad, wanted_slope)


def test_rows_and_their_mean_are_those_of_the_table() -> None:
    table, index = torch.randn(U, 2), torch.tensor([[0, -1, 3], [2, 2, 1]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    looked = Looked(table, index)
    assert torch.equal(looked.rows, table[index])
    torch.testing.assert_close(looked.mean(mask), masked_mean(table[index], mask))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_means_on_cuda_are_those_of_the_cpu() -> None:
    table, index, mask = torch.randn(U, 8), torch.randint(-1, U, (6, 5)), torch.rand(6, 5) > 0.3
    found = [Looked(table.to(d), index.to(d)).mean(mask.to(d)).cpu() for d in ("cpu", "cuda")]
    torch.testing.assert_close(*found)
