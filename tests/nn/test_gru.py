"""The GRU's own training pass against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from micgraph.nn.gru import GRU


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("width", [3, 6])
@pytest.mark.parametrize("length", [None, [0, 1, 2, 3, 4, 5], [3, 0, 2, 2, 0, 3], [5] * 6, [0] * 6])
def test_states_and_gradients_are_those_of_torch(layers: int, width: int, length: list[int] | None) -> None:
    """All states, or the last ones of lines of every length; the weights' names are torch's too."""
    torch.manual_seed(layers)
    own = GRU(4, width, num_layers=layers, batch_first=True).double()
    reference = nn.GRU(4, width, num_layers=layers, batch_first=True).double()
    reference.load_state_dict(own.state_dict())
    x = torch.randn(6, 5, 4, dtype=torch.float64, requires_grad=True)
    got, want = own(x), reference(x)[0]
    if length is not None:
        got = own.last(x, torch.arange(5) < torch.tensor(length)[:, None])
        nothing = (want * 0).sum().expand(width)
        want = torch.stack([states[n - 1] if n else nothing for states, n in zip(want, length, strict=True)])
    torch.testing.assert_close(got, want)
    weight = torch.randn_like(got)
    left = torch.autograd.grad((got * weight).sum(), [x, *own.parameters()])
    right = torch.autograd.grad((want * weight).sum(), [x, *reference.parameters()])
    torch.testing.assert_close(left, right)


def test_without_gradients_the_result_is_the_same() -> None:
    own, x, mask = GRU(4, 3, batch_first=True), torch.randn(6, 5, 4), torch.arange(5) < torch.arange(6)[:, None]
    with torch.no_grad():
        states, last = own(x), own.last(x, mask)
    torch.testing.assert_close(own(x), states)
    torch.testing.assert_close(own.last(x, mask), last)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(own(x).float(), states, atol=0.05, rtol=0.05)
