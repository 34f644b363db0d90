"""Losses with mined rows against loops: several positives, more negatives, their gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.tasks.losses import log_total, multi_positive, nt_xent, symmetric_info_nce, unit, view_contrast
from micgraph.tasks.mining import turns_up
from micgraph.tasks.support import Support
from tests.tasks.mined import contrast


def table(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def support_of(n: int, k: int = 3, hard: int = 4) -> Support:
    near, against = torch.randint(9, (n, k)), torch.randint(9, (n, hard))
    return Support(unit(table(9, 3)), near, torch.rand(n, k) < 0.6, against, torch.rand(n, hard) < 0.6, 0.3)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_view_contrast_with_mined_rows(n: int, literal: bool) -> None:
    clean, view, same, support = table(n, 3), table(n, 3), torch.rand(n, n) < 0.3, support_of(n)
    want = []
    for i in range(n):
        others = [clean[j] for j in range(n) if j != i and not same[i, j]]
        want.append(contrast(clean[i], view[i], others, support, i, 0.2, literal))
    got = view_contrast(clean, view, same, 0.2, literal, support)
    assert got.tolist() == pytest.approx(want)


@pytest.mark.parametrize("n", [1, 4])
def test_nt_xent_with_mined_rows(n: int) -> None:
    views, same, support = [table(n, 3), table(n, 3)], torch.rand(n, n) < 0.3, support_of(n)
    want = [0.0] * n
    for side in (0, 1):
        for i in range(n):
            others = [rows[j] for rows in views for j in range(n) if j != i and not same[i, j]]
            want[i] += contrast(views[side][i], views[1 - side][i], others, support, i, 0.3, False) / 2
    assert nt_xent(*views, same, 0.3, support).tolist() == pytest.approx(want)


@pytest.mark.parametrize("n", [1, 4])
def test_symmetric_info_nce_with_mined_rows(n: int) -> None:
    """Either direction has masks, neighbours and hard negatives of its own."""
    left, right, supports = table(n, 3), table(n, 3), (support_of(n), support_of(n))
    masks = torch.rand(n, n) < 0.3, torch.rand(n, n) < 0.3
    want = []
    for i in range(n):
        total = 0.0
        for own, other, mask, support in zip((left, right), (right, left), masks, supports, strict=True):
            others = [other[j] for j in range(n) if j != i and not mask[i, j]]
            total += contrast(own[i], other[i], others, support, i, 0.2, False)
        want.append(total)
    assert symmetric_info_nce(left, right, masks[0], 0.2, supports, masks[1]).tolist() == pytest.approx(want)


def test_one_positive_is_the_plain_loss() -> None:
    clean, view, same = table(4, 3), table(4, 3), torch.rand(4, 4) < 0.3
    nobody = torch.zeros(4, 0, dtype=torch.int64)
    none = Support(table(9, 3), torch.randint(9, (4, 2)), torch.zeros(4, 2).bool(), nobody, nobody.bool())
    torch.testing.assert_close(view_contrast(clean, view, same, 0.1, False, none), view_contrast(clean, view, same))


@pytest.mark.parametrize("literal", [False, True])
def test_gradients_of_several_positives(literal: bool) -> None:
    positive, negative = table(3, 2).requires_grad_(), table(3, 4).requires_grad_()
    weight = torch.tensor([[1.0, 0.5], [1.0, 0.0], [1.0, 0.5]])
    blocked = torch.tensor([[False] * 4, [True, False, True, False], [True] * 4])

    def loss_of(p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        parts = (n[:, :3], blocked[:, :3]), (n[:, 3:], blocked[:, 3:])
        return multi_positive(p, weight, log_total(*parts), literal)

    assert torch.autograd.gradcheck(loss_of, (positive, negative))
    loss = loss_of(positive, negative)
    assert loss[2] == 0 and (loss[:2] != 0).all()
    slope = torch.autograd.grad(loss.sum(), positive)[0]
    assert slope[1, 1] == 0 and (slope[2] == 0).all()


@pytest.mark.parametrize(("k", "hard"), [(3, 4), (1, 0), (0, 2)])
def test_scores_of_mined_rows(k: int, hard: int) -> None:
    anchor, support = table(5, 3).requires_grad_(), support_of(5, k, hard)
    for got, rows in zip(support.scores(anchor), (support.near, support.hard), strict=True):
        for i, row in enumerate(rows):
            assert got[i].tolist() == pytest.approx([float(anchor[i].detach() @ support.vectors[j]) for j in row])
    assert torch.autograd.gradcheck(lambda x: torch.cat(support.scores(x), 1), (anchor,))


@given(st.lists(st.lists(st.integers(-1, 4), min_size=2, max_size=2), max_size=5), st.lists(st.integers(0, 4)))
def test_where_neighbours_turn_up(near: list[list[int]], ids: list[int]) -> None:
    row, place = turns_up(torch.tensor(near, dtype=torch.int64).view(-1, 2), torch.tensor(ids, dtype=torch.int64))
    want = {(i, j) for i, line in enumerate(near) for j, one in enumerate(ids) if one in line}
    assert set(zip(row.tolist(), place.tolist(), strict=True)) == want
