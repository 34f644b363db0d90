"""Sums of losses, and which step's was not finite, however rarely one looks."""

from __future__ import annotations

import pytest
import torch

from micgraph.schema import ConfigError
from micgraph.training.tally import Tally


def filled(losses: list[float], check_every: int | None) -> Tally:
    tally = Tally(2, {"loss": 0.5}, check_every)
    for step, loss in enumerate(losses):
        tally.add(7 + step, torch.tensor(loss), {"ui": torch.tensor(2 * loss)})
    return tally


def test_sums_go_on_from_earlier_ones_in_double_precision() -> None:
    found = filled([0.1] * 50, None).read()
    one, two = torch.tensor(0.1).item(), torch.tensor(0.2).item()
    assert found == pytest.approx({"loss": 0.5 + 50 * one, "loss/ui": 50 * two}, rel=1e-14)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_is_named_with_its_step(loss: float) -> None:
    with pytest.raises(ConfigError, match="finite.*epoch 3, step 8"):
        filled([1.0, loss], None)
    with pytest.raises(ConfigError, match="finite.*epoch 3, step 9"):
        filled([1.0, 1.0, loss, 1.0, loss], 4)
    late = filled([1.0, loss, 1.0], 4)
    with pytest.raises(ConfigError, match="finite.*epoch 3, step 8"):
        late.read()
