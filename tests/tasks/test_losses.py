"""Every loss against the paper's equation, written as loops over Python floats."""

from __future__ import annotations

import math

import pytest
import torch

from micgraph.tasks.losses import (
    info_nce,
    logistic_loss,
    mean,
    nt_xent,
    softmax_loss,
    symmetric_info_nce,
    view_contrast,
)

SHAPES = [(1, 1, 2), (1, 4, 3), (3, 1, 2), (4, 6, 3), (6, 5, 4)]


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cos(a: list[float], b: list[float]) -> float:
    return dot(a, b) / math.sqrt(dot(a, a)) / math.sqrt(dot(b, b))


def ratio(positive: float, negatives: list[float], literal: bool = False) -> float:
    """-log(exp(p) / sum_j exp(n_j)), with the positive among the terms of the sum unless literal."""
    total = sum(math.exp(n) for n in negatives) + (0.0 if literal else math.exp(positive))
    return -math.log(math.exp(positive) / total) if total else 0.0


def table(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def coin(*shape: int) -> torch.Tensor:
    return torch.rand(*shape) < 0.4


def close(got: torch.Tensor, want: list[float] | float, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(got, torch.tensor(want, dtype=got.dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize(("anchors", "negatives", "d"), SHAPES)
def test_softmax_loss(anchors: int, negatives: int, d: int, literal: bool) -> None:
    """MicRec Eqs. 1 and 7."""
    positive, negative, blocked = table(anchors), table(anchors, negatives), coin(anchors, negatives)
    want = []
    for i in range(anchors):
        kept = [negative[i, j].item() for j in range(negatives) if not blocked[i, j]]
        want.append(ratio(positive[i].item(), kept, literal))
    close(softmax_loss(positive, negative, blocked, literal), want)
    open_row = [ratio(positive[i].item(), negative[i].tolist(), literal) for i in range(anchors)]
    close(softmax_loss(positive, negative, literal=literal), open_row)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("tau", [1.0, 0.2])
@pytest.mark.parametrize(("anchors", "negatives", "d"), SHAPES)
def test_info_nce(anchors: int, negatives: int, d: int, tau: float, cosine: bool, literal: bool) -> None:
    """MicRec Eqs. 3, 4 and 5, with what DECISIONS 12 adds: masks and the correction by expected counts."""
    anchor, positive, negative = table(anchors, d), table(anchors, d), table(negatives, d)
    blocked, log_q = coin(anchors, negatives), table(negatives)
    similarity = cos if cosine else dot
    plain, corrected = [], []
    for i in range(anchors):
        own = similarity(anchor[i].tolist(), positive[i].tolist()) / tau
        others, adjusted = [], []
        for j in range(negatives):
            score = similarity(anchor[i].tolist(), negative[j].tolist()) / tau
            others.append(score)
            if not blocked[i, j]:
                adjusted.append(score - log_q[j].item())
        plain.append(ratio(own, others, literal))
        corrected.append(ratio(own, adjusted, literal))
    close(info_nce(anchor, positive, negative, tau=tau, cosine=cosine, literal=literal), plain)
    got = info_nce(anchor, positive, negative, blocked, log_q, tau=tau, cosine=cosine, literal=literal)
    close(got, corrected)


def test_log_q_makes_sampled_negatives_stand_for_the_whole_catalogue() -> None:
    """Sampled with log(count * q) subtracted, the sum over draws estimates the sum over all items."""
    n, draws = 40, 200_000
    query, items = torch.randn(1, 3), torch.randn(n, 3)
    q = torch.rand(n) + 0.05
    q = q / q.sum()
    drawn = torch.multinomial(q, draws, replacement=True)
    log_q = q[drawn].log() + math.log(draws)
    everything = info_nce(query, items[:1], items)
    sampled = info_nce(query, items[:1], items[drawn], log_q=log_q)
    torch.testing.assert_close(sampled, everything, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_symmetric_info_nce(n: int, tau: float) -> None:
    """MIC Eq. 6: both directions, the positive in the denominator as printed."""
    left, right, same = table(n, 3), table(n, 3), coin(n, n)
    same = same | same.T
    want = []
    for i in range(n):
        pair = cos(left[i].tolist(), right[i].tolist()) / tau
        to_items = [cos(left[i].tolist(), right[j].tolist()) / tau for j in range(n) if j != i and not same[i, j]]
        to_users = [cos(left[j].tolist(), right[i].tolist()) / tau for j in range(n) if j != i and not same[j, i]]
        want.append(ratio(pair, to_items) + ratio(pair, to_users))
    close(symmetric_info_nce(left, right, same, tau), want)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_view_contrast(n: int, literal: bool) -> None:
    """MIC Eqs. 7 and 8: a clean anchor, its view, and the other clean rows."""
    clean, view, same = table(n, 3), table(n, 3), coin(n, n)
    want = []
    for k in range(n):
        own = cos(clean[k].tolist(), view[k].tolist()) / 0.1
        others = [cos(clean[k].tolist(), clean[j].tolist()) / 0.1 for j in range(n) if j != k and not same[k, j]]
        want.append(ratio(own, others, literal))
    close(view_contrast(clean, view, same, 0.1, literal), want)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_nt_xent(n: int) -> None:
    """MIC 2.4.1: two views of N rows, 2(N - 1) negatives for each of the 2N anchors."""
    first, second, same = table(n, 3), table(n, 3), coin(n, n)
    views = [(k, row.tolist()) for rows in (first, second) for k, row in enumerate(rows)]
    want = [0.0] * n
    for a, (k, anchor) in enumerate(views):
        partner = views[(a + n) % (2 * n)][1]
        others = [cos(anchor, v) / 0.3 for j, v in views if j != k and not same[k, j]]
        if not same.any():
            assert len(others) == 2 * (n - 1)
        want[k] += ratio(cos(anchor, partner) / 0.3, others) / 2
    close(nt_xent(first, second, same, 0.3), want)
    full = nt_xent(first, second, torch.zeros(n, n, dtype=torch.bool), 0.3)
    assert full.shape == (n,)
    if n == 1:
        close(full, [0.0])  # no negative is left


@pytest.mark.parametrize(("anchors", "negatives", "d"), SHAPES)
def test_logistic_loss(anchors: int, negatives: int, d: int) -> None:
    """MIC Eq. 9 with y = 1 for clicked and 0 for sampled pairs."""
    positive, negative, blocked = table(anchors), table(anchors, negatives), coin(anchors, negatives)
    for mask in (None, blocked):
        terms = []
        for i in range(anchors):
            labelled = [(positive[i].item(), 1)]
            labelled += [(negative[i, j].item(), 0) for j in range(negatives) if mask is None or not mask[i, j]]
            for score, y in labelled:
                p = 1 / (1 + math.exp(-score))
                terms.append(-(y * math.log(p) + (1 - y) * math.log(1 - p)))
        close(logistic_loss(positive, negative, mask), sum(terms) / len(terms))


def test_mean_counts_valid_anchors_only() -> None:
    losses = torch.tensor([1.0, 5.0, torch.inf])
    close(mean(losses[:2]), 3.0)
    close(mean(losses, torch.tensor([True, True, False])), 3.0)
    close(mean(losses, torch.zeros(3, dtype=torch.bool)), 0.0)
    close(mean(losses[:0]), 0.0)
    close(logistic_loss(torch.zeros(0), torch.zeros(0, 4)), 0.0)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("negatives", [0, 3])
def test_an_anchor_without_negatives_has_no_loss_and_finite_gradients(literal: bool, negatives: int) -> None:
    anchor, positive = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    negative = torch.randn(negatives, 3, requires_grad=True)
    blocked = torch.ones(2, negatives, dtype=torch.bool)
    loss = info_nce(anchor, positive, negative, blocked, literal=literal)
    close(loss.detach(), [0.0, 0.0])
    gradients = torch.autograd.grad(loss.sum(), [anchor, positive, negative])
    assert all((g == 0).all() for g in gradients)


@pytest.mark.parametrize("literal", [False, True])
def test_one_blocked_row_does_not_spoil_the_others(literal: bool) -> None:
    negative = torch.randn(2, 3, requires_grad=True)
    positive = torch.randn(2, requires_grad=True)
    blocked = torch.tensor([[True, True, True], [False, True, False]])
    loss = softmax_loss(positive, negative, blocked, literal)
    assert loss[0] == 0 and loss[1] != 0
    slope_n, slope_p = torch.autograd.grad(loss.sum(), [negative, positive])
    assert torch.isfinite(slope_n).all() and torch.isfinite(slope_p).all()
    assert (slope_n[blocked] == 0).all() and (slope_n[~blocked] > 0).all() and slope_p[1] < 0


def test_huge_scores_stay_finite() -> None:
    positive, negative = torch.tensor([-1e4, 1e4], requires_grad=True), torch.tensor([[1e4], [-1e4]])
    close(softmax_loss(positive, negative).detach(), [2e4, 0.0])
    close(logistic_loss(positive, negative).detach(), 5e3)  # 1e4 for each wrong pair, 0 for each right one
    (slope,) = torch.autograd.grad(softmax_loss(positive, negative).sum(), positive)
    close(slope, [-1.0, 0.0])


LOSSES = {
    "info_nce": lambda a, b, s: info_nce(a, b, a, s, tau=0.1, cosine=True),
    "symmetric": lambda a, b, s: symmetric_info_nce(a, b, s),
    "view": lambda a, b, s: view_contrast(a, b, s),
    "view literal": lambda a, b, s: view_contrast(a, b, s, literal=True),
    "nt_xent": lambda a, b, s: nt_xent(a, b, s),
}


@pytest.mark.parametrize("name", LOSSES)
def test_zero_vectors_have_bounded_gradients(name: str) -> None:
    """A view whose fields are all masked is a zero vector at first; it must not drown every other gradient."""
    rows, other = torch.randn(4, 3), torch.randn(4, 3)
    other[1] = 0.0
    rows[2] = 0.0
    rows.requires_grad_(), other.requires_grad_()
    loss = LOSSES[name](rows, other, torch.zeros(4, 4, dtype=torch.bool)).mean()
    for gradient in torch.autograd.grad(loss, [rows, other]):
        assert torch.isfinite(gradient).all() and gradient.abs().max() < 1e5


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_loss(name: str) -> None:
    same = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])
    rows, other = table(3, 2).requires_grad_(), table(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: LOSSES[name](a, b, same), (rows, other))


def test_cosine_losses_ignore_lengths() -> None:
    left, right, same = table(4, 3), table(4, 3), coin(4, 4)
    stretch = torch.tensor([[0.5], [2.0], [7.0], [1.0]], dtype=torch.float64)
    for loss in LOSSES.values():
        torch.testing.assert_close(loss(left * stretch, right * 3, same), loss(left, right, same))
    assert not torch.allclose(info_nce(left * stretch, right, left), info_nce(left, right, left))
