"""The softmax over the whole catalogue against loops over Python floats, and its own gradients against differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from micgraph.tasks import catalogue
from micgraph.tasks.catalogue import full_softmax

N, D, SCALE = 7, 3, 2.5
TARGET = torch.tensor([0, 6, 6, 3, 1])


def table(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def score(query: torch.Tensor, item: torch.Tensor) -> float:
    return SCALE * sum(a * b for a, b in zip(query.tolist(), item.tolist(), strict=True))


def by_loops(
    query: torch.Tensor, items: torch.Tensor, share: list[list[float]], blocked: list[set[int]] | None = None
) -> float:
    """Mean over the queries of sum_j t_j (log(e^{s_j} + sum of e^s over all others that are not blocked) - s_j)."""
    total = 0.0
    for p in range(len(query)):
        left_out = blocked[p] if blocked else set()
        scores = [score(query[p], items[i]) for i in range(len(items))]
        for j in range(len(items)):
            norm = sum(math.exp(s) for i, s in enumerate(scores) if i == j or i not in left_out)
            total += share[p][j] * (math.log(norm) - scores[j]) / len(query)
    return total


def hard(target: torch.Tensor) -> list[list[float]]:
    return [[float(i == t) for i in range(N)] for t in target.tolist()]


@pytest.fixture(params=[1, 2 * N, 100 * N])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CHUNK", {"cpu": request.param})


@pytest.mark.usefixtures("_chunks")
class TestInChunks:
    def test_it_is_the_cross_entropy(self) -> None:
        query, items = table(5, D), table(N, D)
        got = full_softmax(query, items, TARGET, SCALE).item()
        assert got == pytest.approx(by_loops(query, items, hard(TARGET)), rel=1e-9)

    @pytest.mark.parametrize("spared", [False, True])
    def test_several_targets_add_up(self, spared: bool) -> None:
        """Weights 0 stand for no target; the same item may be a target twice."""
        query, items = table(5, D), table(N, D)
        target, weight = torch.randint(0, N, (5, 4)), torch.rand(5, 4, dtype=torch.float64)
        target[0, :2], weight[1, 2:] = 3, 0.0
        row = torch.tensor([0, 0, 1, 1, 1])
        blocked = torch.rand(2, N) < 0.5 if spared else None
        share = torch.zeros(5, N, dtype=torch.float64).scatter_add(1, target, weight)
        left_out = None if blocked is None else [set(blocked[r].nonzero()[:, 0].tolist()) for r in row]
        got = full_softmax(query, items, target, SCALE, weight, blocked, row).item()
        assert got == pytest.approx(by_loops(query, items, share.tolist(), left_out), rel=1e-9)

    def test_a_blocked_item_counts_for_itself_alone(self) -> None:
        query, items, row = table(5, D), table(N, D), torch.tensor([0, 0, 1, 1, 1])
        blocked = torch.zeros(2, N, dtype=torch.bool)
        blocked[0, [0, 2, 5]] = True
        blocked[1, [6, 3]] = True
        left_out = [set(blocked[r].nonzero()[:, 0].tolist()) for r in row]
        got = full_softmax(query, items, TARGET, SCALE, blocked=blocked, row=row).item()
        assert got == pytest.approx(by_loops(query, items, hard(TARGET), left_out), rel=1e-9)

    def test_gradients_are_those_of_the_loss(self) -> None:
        query, items = table(5, D).requires_grad_(), table(N, D).requires_grad_()
        target, weight = torch.randint(0, N, (5, 4)), torch.rand(5, 4, dtype=torch.float64)
        blocked, row = torch.rand(2, N) < 0.4, torch.tensor([0, 1, 0, 1, 1])
        for chosen, share in ((TARGET, None), (target, weight)):
            for spared in (None, blocked):
                assert torch.autograd.gradcheck(
                    lambda q, i, c=chosen, w=share, b=spared: full_softmax(q, i, c, SCALE, w, b, row), (query, items)
                )

    def test_loss_and_gradients_are_those_of_pytorchs_cross_entropy(self) -> None:
        query, items = torch.randn(5, D, requires_grad=True), torch.randn(N, D, requires_grad=True)
        mine, theirs = full_softmax(query, items, TARGET, SCALE), F.cross_entropy(SCALE * query @ items.T, TARGET)
        torch.testing.assert_close(mine, theirs)
        slopes = [torch.autograd.grad(3 * loss, [query, items]) for loss in (mine, theirs)]
        torch.testing.assert_close(*slopes)


def test_where_everything_is_blocked_nothing_is_left_to_lose() -> None:
    query, items = torch.randn(5, D, requires_grad=True), torch.randn(N, D)
    blocked, row = torch.ones(1, N, dtype=torch.bool), torch.zeros(5, dtype=torch.int64)
    loss = full_softmax(query, items, TARGET, SCALE, blocked=blocked, row=row)
    assert loss == 0 and (torch.autograd.grad(loss, query)[0] == 0).all()


def test_no_query_has_no_loss() -> None:
    query, items = torch.zeros(0, D, requires_grad=True), torch.randn(N, D, requires_grad=True)
    loss = full_softmax(query, items, TARGET[:0])
    assert loss == 0 and (torch.autograd.grad(loss, items)[0] == 0).all()


def test_huge_scores_stay_finite() -> None:
    query, items = torch.tensor([[1e3], [-1e3]], requires_grad=True), torch.tensor([[30.0], [-30.0]])
    loss = full_softmax(query, items, torch.tensor([0, 0]))
    torch.testing.assert_close(loss, torch.tensor(3e4))  # 0 for the first, 6e4 for the second
    torch.testing.assert_close(torch.autograd.grad(loss, query)[0], torch.tensor([[0.0], [-30.0]]))


def test_low_precision_is_near_and_its_sums_are_not_low() -> None:
    query, items, target = torch.randn(600, 16), torch.randn(50, 16), torch.randint(0, 50, (600,))
    exact = F.cross_entropy(query @ items.T, target)
    torch.testing.assert_close(full_softmax(query.bfloat16(), items.bfloat16(), target), exact, rtol=1e-2, atol=1e-2)
    query.requires_grad_(), items.requires_grad_()
    want = torch.autograd.grad(F.cross_entropy(query @ items.T, target), [query, items])
    with torch.autocast("cpu", torch.bfloat16):
        loss = full_softmax(query, items, target)
    torch.testing.assert_close(loss, exact, rtol=1e-3, atol=1e-3)
    for got, exactly in zip(torch.autograd.grad(loss, [query, items]), want, strict=True):
        assert got.dtype == torch.float32
        assert (got - exactly).norm() < 0.02 * exactly.norm()
