"""Contrasts some rows at a time against the same contrasts with a matrix of all scores, which test_losses and
test_mining hold to loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from micgraph.tasks import pairs
from micgraph.tasks.losses import nt_xent, symmetric_info_nce, unit, view_contrast
from micgraph.tasks.pairs import Pairs, same_ids
from micgraph.tasks.support import Support
from tests.together import trainer

ids = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=7)
Loss = Callable[[Tensor, Tensor, "Tensor | Pairs", "Tensor | Pairs", Support | None], Tensor]
LOSSES: dict[str, Loss] = {
    "symmetric": lambda a, b, s, t, m: symmetric_info_nce(a, b, s, 0.2, None if m is None else (m, m), t),
    "view": lambda a, b, s, t, m: view_contrast(a, b, s, 0.2, False, m),
    "view literal": lambda a, b, s, t, m: view_contrast(a, b, s, 0.2, True, m),
    "nt_xent": lambda a, b, s, t, m: nt_xent(a, b, s, 0.3, m),
}


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pairs.CHUNK, "cpu", 9)


def matrix(numbers: list[tuple[int, int]], more: list[tuple[int, int]]) -> Tensor:
    """Written from what :class:`Pairs` says."""
    n = len(numbers)
    rows = [[a == c or b == d for c, d in numbers] for a, b in numbers]
    return torch.tensor([[rows[i][j] or (i, j) in more for j in range(n)] for i in range(n)])


def told(numbers: list[tuple[int, int]], more: list[tuple[int, int]]) -> Pairs:
    one = Pairs.of(*torch.tensor(numbers).T)
    return one.beside(*torch.tensor(more, dtype=torch.int64).view(-1, 2).T)


@given(ids, st.data())
def test_masks_are_those_of_the_matrix(numbers: list[tuple[int, int]], data: st.DataObject) -> None:
    place = st.integers(0, len(numbers) - 1)
    more = data.draw(st.lists(st.tuples(place, place), max_size=5))
    want, found = matrix(numbers, more), told(numbers, more)
    start = data.draw(place)
    for stop in range(start, len(numbers) + 1):
        assert found.mask(start, stop).tolist() == want[start:stop].tolist()
    assert found.twice().mask(0, 2 * len(numbers)).tolist() == want.repeat(2, 2).tolist()


@pytest.mark.parametrize("mined", [False, True])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@given(numbers=ids, data=st.data())
def test_losses_and_gradients_are_the_same(
    loss: Loss, mined: bool, numbers: list[tuple[int, int]], data: st.DataObject
) -> None:
    n = len(numbers)
    place = st.integers(0, n - 1)
    torch.manual_seed(data.draw(st.integers(0, 99)))
    first, second = (data.draw(st.lists(st.tuples(place, place), max_size=5)) for _ in range(2))
    found = []
    rows = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    near, hard = torch.randint(9, (n, 2)), torch.randint(9, (n, 3))
    valid = torch.rand(n, 2) < 0.5, torch.rand(n, 3) < 0.5
    vectors = unit(torch.randn(9, 3, dtype=torch.float64))
    support = Support(vectors, near, valid[0], hard, valid[1], 0.3) if mined else None
    for way in (matrix, told):
        losses = loss(rows[0], rows[1], way(numbers, first), way(numbers, second), support)
        weight = torch.linspace(1, 2, n, dtype=torch.float64)
        found.append((losses, *torch.autograd.grad((losses * weight).sum(), rows)))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("model", ["gru4rec+mic", "comirec_sa+mic"])
def test_a_step_of_mic_is_the_same(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With mined neighbours that are spared in either direction."""
    settings = {"mining": {"start": 1, "k": 3, "clusters": 3, "hard": 4}, "sampling": {"batch_size": 30}}
    found = []
    for whole in (pairs.WHOLE, 0):
        monkeypatch.setattr(pairs, "WHOLE", whole)
        made = trainer(tmp_path / str(whole), model, settings)
        made.objective.train().begin_epoch(0, made.sampler.clicks, 0)
        batch = made.sampler.batch(0, 0)
        ids = batch.user[batch.pair_row[batch.anchor]]
        assert isinstance(same_ids(ids), Pairs if whole == 0 else Tensor)
        torch.manual_seed(3)
        loss, parts = made.objective(batch)
        found.append(({"loss": loss, **parts}, torch.autograd.grad(loss, made.objective.towers.encoder.parameters())))
    torch.testing.assert_close(found[1], found[0])
