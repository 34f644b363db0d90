"""The cheap dropout has the distribution of the plain one, and repeats with the seed of torch's generator."""

from __future__ import annotations

import pytest
import torch

from micgraph.nn.dropout import Dropout, dropout


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_numbers_are_dropped_at_the_rate_and_each_alone(rate: float) -> None:
    torch.manual_seed(1)
    n = 400_001  # no multiple of the four numbers that one draw decides on
    found = dropout(torch.ones(n), rate)
    kept = found != 0
    wide = 5 * (rate * (1 - rate) / n) ** 0.5
    assert float(kept.double().mean()) == pytest.approx(1 - rate, abs=wide)
    torch.testing.assert_close(found[kept], torch.full((int(kept.sum()),), 1 / (1 - rate)), rtol=1e-3, atol=0)
    for apart in (1, 2, 3, 4, 8):  # neighbours of one draw and of different ones are independent
        both = float((kept[apart:] & kept[:-apart]).double().mean())
        assert both == pytest.approx((1 - rate) ** 2, abs=2 * wide)


def test_the_gradient_is_that_of_the_same_mask() -> None:
    x = torch.randn(50, 7, dtype=torch.float64, requires_grad=True)
    found = dropout(x, 0.3)
    slope = torch.autograd.grad(found.sum(), x)[0]
    torch.testing.assert_close(slope * x, found)
    assert 0 < int((slope == 0).sum()) < x.numel()


def test_the_mask_belongs_to_the_seed_of_torch() -> None:
    x, seen = torch.ones(100, 3), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append([dropout(x, 0.5), dropout(x, 0.5)])
    assert torch.equal(seen[0][0], seen[1][0]) and torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[0][0], seen[0][1]) and not torch.equal(seen[0][0], seen[2][0])


def test_nothing_is_dropped_in_evaluation_or_twice() -> None:
    x, layer = torch.randn(100), Dropout(0.5)
    assert not torch.equal(layer(x), x) and torch.equal(layer(x, done=True), x)
    assert torch.equal(layer.eval()(x), x) and torch.equal(dropout(x, 0.0), x)
    assert dropout(torch.zeros(0, 3), 0.5).shape == (0, 3)
