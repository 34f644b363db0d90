"""Row-wise AdamW against loops over numbers, against AdamW itself, and in a run that stops and goes on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from micgraph.training import LAST, load_weights
from micgraph.training.optimizer import RowAdamW, clip, make_optimizer, pack, unpack
from tests.loop import Killed, losses, same_weights, trainer

N, D, LR, DECAY = 6, 3, 0.01, 0.1


def model(sparse: bool) -> tuple[RowAdamW, nn.Sequential]:
    torch.manual_seed(3)
    table, linear = nn.Embedding(N, D), nn.Linear(D, 1)
    made = nn.Sequential(table, linear)
    return make_optimizer(made, LR, DECAY, N if sparse else N + 1, "cpu"), made


def steps(read: list[list[int]], sparse: bool, limit: float = 0.0) -> tuple[nn.Sequential, list[torch.Tensor]]:
    """A model after a step for each list of rows, and the gradient of its table in every step."""
    optimizer, made = model(sparse)
    slopes = []
    for rows in read:
        optimizer.zero_grad(set_to_none=True)
        made(torch.tensor(rows)).square().sum().backward()
        assert made[0].weight.grad.is_sparse == sparse
        if limit:
            clip(made, limit)
        grad = made[0].weight.grad
        slopes.append((grad.to_dense() if sparse else grad).clone())
        optimizer.step()
    return made, slopes


def test_rows_are_updated_as_a_lazy_adam_written_out() -> None:
    read = [[1, 3, 1], [3], [0, 5], [1, 5, 5]]
    made, slopes = steps(read, sparse=True)
    want = model(True)[1][0].weight.tolist()
    mean, square = ([[0.0] * D for _ in range(N)] for _ in range(2))
    for t, (rows, slope) in enumerate(zip(read, slopes, strict=True), start=1):
        for row in set(rows):
            for k in range(D):
                g = float(slope[row, k])
                mean[row][k] = 0.9 * mean[row][k] + 0.1 * g
                square[row][k] = 0.999 * square[row][k] + 0.001 * g * g
                size = math.sqrt(square[row][k] / (1 - 0.999**t)) + 1e-8
                want[row][k] = want[row][k] * (1 - LR * DECAY) - LR * mean[row][k] / (1 - 0.9**t) / size
    torch.testing.assert_close(made[0].weight.detach(), torch.tensor(want), rtol=1e-5, atol=1e-6)
    assert torch.equal(made[0].weight[[2, 4]], model(True)[1][0].weight[[2, 4]])


@pytest.mark.parametrize("limit", [0.0, 0.05])
def test_with_every_row_in_every_step_it_is_adamw(limit: float) -> None:
    """Clipped too: a row that is read several times counts once in the norm, with the sum of its slopes."""
    read = [[0, 1, 2, 3, 4, 5, 2, 2], [5, 4, 3, 2, 1, 0], [0, 0, 1, 2, 3, 4, 5]]
    (rows, row_slopes), (dense, slopes) = steps(read, True, limit), steps(read, False, limit)
    for one, other in zip(row_slopes, slopes, strict=True):
        torch.testing.assert_close(one, other)
    for name, value in dense.state_dict().items():
        torch.testing.assert_close(rows.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_it_goes_on_from_what_adamw_has_kept() -> None:
    optimizer, made = model(False)
    made(torch.arange(N)).sum().backward()
    plain = torch.optim.AdamW(made.parameters(), LR)
    plain.step()
    optimizer.load_state_dict(unpack(*pack(plain.state_dict())))
    (table, *_), (kept, *_) = optimizer.state.values(), plain.state.values()
    assert all(torch.equal(table[name], kept[name]) for name in ("step", "exp_avg", "exp_avg_sq"))
    optimizer.step()


def test_a_run_with_large_tables_goes_on_bit_for_bit(tmp_path: Path) -> None:
    settings = {"epochs": 2, "checkpoint_every": 1, "sparse_rows": 10, "weight_decay": 0.01}
    whole, broken = (trainer(tmp_path / name, ("matching", "ui"), **settings) for name in ("whole", "run"))
    assert any(m.sparse for m in whole.objective.modules() if isinstance(m, nn.Embedding))
    assert isinstance(whole.optimizer, RowAdamW)
    whole.run()
    step = broken._step

    def dying(at: int, batch: object) -> None:
        if broken.state.epoch == 1 and at == 2:
            raise Killed
        step(at, batch)  # type: ignore[arg-type]

    broken._step = dying  # type: ignore[method-assign]
    with pytest.raises(Killed):
        broken.run()
    trainer(tmp_path / "run", ("matching", "ui"), **settings).run()
    assert same_weights(load_weights(tmp_path / "run" / LAST), load_weights(tmp_path / "whole" / LAST))
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
