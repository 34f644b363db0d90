"""The papers' losses as functions of tensors. Each takes scores or vectors and returns one number.

Sums of the papers become means per anchor (DECISIONS 10), so that a loss weight does not depend on the batch size.
The printed form of an equation is available as ``literal=True``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from micgraph.tasks.pairs import Pairs, pair_total
from micgraph.tasks.support import Support

BLOCKED = 1e30
"""Taken off scores that must not count: far above any score, far below what overflows."""


def unit(x: Tensor) -> Tensor:
    """Vectors [..., d] at length 1. Shorter ones than 0.001 keep their direction only in part: a row whose fields are
    all masked is a zero vector at first, and its gradient must not drown all others before clipping."""
    return F.normalize(x, dim=-1, eps=1e-3)


def softmax_loss(positive: Tensor, negative: Tensor, blocked: Tensor | None = None, literal: bool = False) -> Tensor:
    """-log of the positive's share of a softmax, for each anchor.

    ``-log(exp(p) / (exp(p) + sum_j exp(n_j)))`` as in DECISIONS 9; *literal* leaves ``exp(p)`` out of the denominator
    as MicRec Eqs. 1, 3, 4, 5, 7 and MIC Eqs. 7-8 print it.

    Args:
        positive: float [A], scores of the positives.
        negative: float [A, S], scores of the negatives.
        blocked: bool [A, S], negatives that must not count.
        literal: the printed form; an anchor whose negatives are all blocked then has loss 0.

    Returns:
        float [A].
    """
    if blocked is not None and not literal:
        return F.softplus(log_total((negative, blocked)) - positive)
    if blocked is not None:
        negative = negative.masked_fill(blocked, -torch.inf)
    if not literal:
        return torch.logsumexp(torch.cat([positive[:, None], negative], dim=1), dim=1) - positive
    some = torch.isfinite(negative).any(1)
    safe = torch.where(some[:, None], negative, 0.0)
    return torch.where(some, torch.logsumexp(safe, dim=1) - positive, 0.0)


def mean(losses: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean over the anchors that are valid (bool [A]); 0 where none is."""
    if valid is None:
        return losses.mean() if len(losses) else losses.sum()
    return torch.where(valid, losses, 0.0).sum() / valid.sum().clamp(min=1)


def info_nce(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    blocked: Tensor | None = None,
    log_q: Tensor | None = None,
    tau: float = 1.0,
    cosine: bool = False,
    literal: bool = False,
) -> Tensor:
    """InfoNCE with negatives that the whole batch shares (MicRec Eqs. 3-5; DECISIONS 9-12).

    Args:
        anchor, positive: float [A, d].
        negative: float [S, d].
        blocked: bool [A, S], negatives that must not count.
        log_q: float [S], log of the expected number of draws of each negative, subtracted from its score.
        tau: temperature.
        cosine: compare directions instead of inner products.
        literal: the printed denominator, without the positive.

    Returns:
        float [A], the loss of each anchor.
    """
    if cosine:
        anchor, positive, negative = (unit(x) for x in (anchor, positive, negative))
    against = (anchor @ negative.T) / tau
    if log_q is not None:
        against = against - log_q
    return softmax_loss((anchor * positive).sum(-1) / tau, against, blocked, literal)


def multi_positive(positive: Tensor, weight: Tensor, total: Tensor, literal: bool = False) -> Tensor:
    """:func:`softmax_loss` of every positive pair of an anchor, and the weighted mean of them (MIC 2.5, 2.6).

    Each positive stands in its own denominator beside the negatives; an anchor's other positives do not.

    Args:
        positive: float [A, P], scores.
        weight: float [A, P], 0 for a positive that does not exist; every anchor has one.
        total: float [A], :func:`log_total` of the negatives' scores.
        literal: a positive is left out of its denominator, as Eqs. 7-8 print it.

    Returns:
        float [A].
    """
    gap = total[:, None] - positive
    losses = torch.where(torch.isfinite(gap), gap, 0.0) if literal else F.softplus(gap)  # of minus infinity 0
    return (losses * weight).sum(1) / weight.sum(1)


def log_total(*parts: tuple[Tensor, Tensor]) -> Tensor:
    """logsumexp of what is not blocked in each of A rows: [A], minus infinity without a gradient where nothing is left.

    Args:
        parts: scores float [A, S] and which of them are blocked, bool [A, S]; S may differ from part to part.
    """
    some = [(one.to(torch.promote_types(one.dtype, torch.float32)), out) for one, out in parts if one.shape[1]]
    if not some:
        return parts[0][0].sum(1) - torch.inf
    scores, blocked = zip(*some, strict=True)
    return _LogTotal.apply(*scores, *blocked)  # type: ignore[no-any-return]


class _LogTotal(torch.autograd.Function):
    """Works in place and keeps the shares for the backward pass: a third of the time that ``masked_fill`` and
    ``logsumexp`` take on the CPU, where these matrices are most of a contrast's cost. They lie as the scores do, so
    that those of a transposed matrix are as fast."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        scores, blocked = parts[: len(parts) // 2], parts[len(parts) // 2 :]
        shares = [torch.where(out, -BLOCKED, one) for one, out in zip(scores, blocked, strict=True)]
        highest = torch.stack([share.amax(1) for share in shares]).amax(0)
        highest = torch.where(highest < -BLOCKED / 2, 0.0, highest)
        total = torch.zeros_like(highest)
        for share in shares:
            total += share.sub_(highest[:, None]).exp_().sum(1)
        ctx.save_for_backward(total, *shares)
        return highest + total.log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        total, *shares = ctx.saved_tensors
        slope = (grad / total.clamp(min=1e-30))[:, None]
        return *(slope * share for share in shares), *(None for _ in shares)


def symmetric_info_nce(
    left: Tensor,
    right: Tensor,
    same: Tensor | Pairs,
    tau: float = 0.1,
    supports: tuple[Support, Support] | None = None,
    same_right: Tensor | Pairs | None = None,
) -> Tensor:
    """User-item contrast: MIC Eq. 6, cosine, positive in the denominator as printed.

    Args:
        left, right: float [N, d]; row k of one belongs to row k of the other.
        same: bool [N, N], pairs off the diagonal that must not count as negatives (DECISIONS 20: the same user or the
            same item); the diagonal is ignored. Or :class:`Pairs`, for scores that are made some rows at a time.
        tau: temperature.
        supports: what was mined for the rows of ``left`` (in the space of ``right``) and for those of ``right``.
        same_right: ``same`` where ``right`` gives the anchors (rows), if it differs from its transpose.

    Returns:
        float [N], the sum of both directions for each pair.
    """
    left, right = unit(left), unit(right)
    to_right, to_left = (None, None) if supports is None else supports
    own = (left * right).sum(-1) / tau
    if isinstance(same, Pairs):
        back = same_right if isinstance(same_right, Pairs) else same
        others = pair_total(left / tau, right, same), pair_total(right / tau, left, back)
        return _directed(left, own, others[0], tau, to_right) + _directed(right, own, others[1], tau, to_left)
    scores = (left / tau) @ right.T
    turned = same.T if same_right is None else same_right
    assert isinstance(turned, Tensor), "both directions are told in one way"
    forth = _directed(left, own, (scores, _off(same)), tau, to_right)
    return forth + _directed(right, own, (scores.T, _off(turned)), tau, to_left)


def view_contrast(
    clean: Tensor,
    view: Tensor,
    same: Tensor | Pairs,
    tau: float = 0.1,
    literal: bool = False,
    support: Support | None = None,
) -> Tensor:
    """User-user and item-item contrast with one perturbed view: MIC Eqs. 7-8, cosine.

    The anchor is clean, its positive is its own perturbed view, its negatives are the other clean rows
    (DECISIONS 20); *literal* leaves the positive out of the denominator as printed.

    Args:
        clean, view: float [N, d].
        same: bool [N, N], rows that show the same user or item and so are no negatives of each other; or
            :class:`Pairs`, as in :func:`symmetric_info_nce`.
        support: what was mined for the anchors.
    """
    clean, view = unit(clean), unit(view)
    own = (clean * view).sum(-1) / tau
    return _directed(clean, own, _among(clean, same, tau), tau, support, literal)


def nt_xent(
    first: Tensor, second: Tensor, same: Tensor | Pairs, tau: float = 0.1, support: Support | None = None
) -> Tensor:
    """Two perturbed views of each row, with the 2(N - 1) other views as negatives (MIC 2.4.1; SimCLR).

    Args:
        first, second: float [N, d].
        same: as in :func:`view_contrast`.
        support: what was mined for the rows, for either view.

    Returns:
        float [N], the mean over both views as anchors.
    """
    views = unit(torch.cat([first, second]))
    both = same.twice() if isinstance(same, Pairs) else _off(same).repeat(2, 2)
    own = (views[: len(first)] * views[len(first) :]).sum(-1).repeat(2) / tau
    if support is not None:
        near, near_valid, hard, hard_valid = (
            torch.cat([part, part]) for part in (support.near, support.near_valid, support.hard, support.hard_valid)
        )
        support = Support(support.vectors, near, near_valid, hard, hard_valid, support.weight)
    return _directed(views, own, _among(views, both, tau), tau, support).view(2, -1).mean(0)


def _among(rows: Tensor, same: Tensor | Pairs, tau: float) -> tuple[Tensor, Tensor] | Tensor:
    """What unit rows have as negatives among themselves, for :func:`_directed`."""
    if isinstance(same, Pairs):
        return pair_total(rows / tau, rows, same)
    return (rows / tau) @ rows.T, _off(same)


def _off(same: Tensor) -> Tensor:
    """``same`` [N, N] with the diagonal."""
    return same.clone().fill_diagonal_(True)


def _directed(
    anchor: Tensor,
    own: Tensor,
    others: tuple[Tensor, Tensor] | Tensor,
    tau: float,
    support: Support | None,
    literal: bool = False,
) -> Tensor:
    """One direction of a contrast: unit anchors [A, d], scores of their own positives [A], and of the batch the scores
    [A, S] with those that are blocked, or their total [A]."""
    positive, weight = own[:, None], torch.ones_like(own)[:, None]
    parts = [others] if isinstance(others, tuple) else []
    if support is not None:
        near, hard = support.scores(anchor / tau)
        positive = torch.cat([positive, near], 1)
        weight = torch.cat([weight, support.near_valid * support.weight], 1)
        parts.append((hard, ~support.hard_valid))
    total = others if isinstance(others, Tensor) else log_total(*parts)
    if isinstance(others, Tensor) and parts:
        total = _either(others, log_total(*parts))
    return multi_positive(positive, weight, total, literal)


def _either(one: Tensor, other: Tensor) -> Tensor:
    """logaddexp of totals [A], without a gradient where both are minus infinity."""
    some = torch.isfinite(one) | torch.isfinite(other)
    return torch.where(some, torch.logaddexp(torch.where(some, one, 0.0), other), -torch.inf)


def logistic_loss(positive: Tensor, negative: Tensor, blocked: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of sampled negatives: MIC Eq. 9, mean over all labelled pairs.

    Args:
        positive: float [A], scores (logits) of clicked pairs.
        negative: float [A, S], scores of sampled pairs.
        blocked: bool [A, S], pairs that carry no label.
    """
    keep = torch.ones_like(negative, dtype=torch.bool) if blocked is None else ~blocked
    total = F.softplus(-positive).sum() + torch.where(keep, F.softplus(negative), 0.0).sum()
    return total / (len(positive) + keep.sum()).clamp(min=1)
