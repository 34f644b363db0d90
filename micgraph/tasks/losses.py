"""The papers' losses as functions of tensors. Each takes scores or vectors and returns one number.

Sums of the papers become means per anchor (DECISIONS 10), so that a loss weight does not depend on the batch size.
The printed form of an equation is available as ``literal=True``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


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


@dataclass(frozen=True)
class Support:
    """What mining adds to A anchors (MIC 2.4.2), without gradients of its own.

    Attributes:
        near: float [A, k, d], vectors of mined neighbours: more positives.
        near_valid: bool [A, k], which of them there are.
        hard: float [A, H, d], more negatives.
        hard_valid: bool [A, H].
        weight: of each neighbour beside an anchor's own positive, which has 1.
    """

    near: Tensor
    near_valid: Tensor
    hard: Tensor
    hard_valid: Tensor
    weight: float = 1.0


def multi_positive(
    positive: Tensor, weight: Tensor, negative: Tensor, blocked: Tensor, literal: bool = False
) -> Tensor:
    """:func:`softmax_loss` of every positive pair of an anchor, and the weighted mean of them (MIC 2.5, 2.6).

    Each positive stands in its own denominator beside the negatives; an anchor's other positives do not.

    Args:
        positive: float [A, P], scores.
        weight: float [A, P], 0 for a positive that does not exist; every anchor has one.
        negative: float [A, S], scores, and ``blocked`` bool [A, S] those that must not count.
        literal: a positive is left out of its denominator, as Eqs. 7-8 print it.

    Returns:
        float [A].
    """
    some = (~blocked).any(1, keepdim=True)
    safe = torch.where(some & blocked, -torch.inf, torch.where(some, negative, 0.0))
    gap = torch.logsumexp(safe, dim=1, keepdim=True) - positive
    losses = torch.where(some, gap if literal else F.softplus(gap), 0.0)
    return (losses * weight).sum(1) / weight.sum(1)


def symmetric_info_nce(
    left: Tensor,
    right: Tensor,
    same: Tensor,
    tau: float = 0.1,
    supports: tuple[Support, Support] | None = None,
    same_right: Tensor | None = None,
) -> Tensor:
    """User-item contrast: MIC Eq. 6, cosine, positive in the denominator as printed.

    Args:
        left, right: float [N, d]; row k of one belongs to row k of the other.
        same: bool [N, N], pairs off the diagonal that must not count as negatives (DECISIONS 20: the same user or the
            same item); the diagonal is ignored.
        tau: temperature.
        supports: what was mined for the rows of ``left`` (in the space of ``right``) and for those of ``right``.
        same_right: ``same`` where ``right`` gives the anchors (rows), if it differs from its transpose.

    Returns:
        float [N], the sum of both directions for each pair.
    """
    left, right = unit(left), unit(right)
    scores = left @ right.T / tau
    itself = torch.eye(len(left), dtype=torch.bool, device=left.device)
    same_right = same.T if same_right is None else same_right
    to_right, to_left = (None, None) if supports is None else supports
    own = scores.diagonal()
    return _directed(left, own, scores, same | itself, tau, to_right) + _directed(
        right, own, scores.T, same_right | itself, tau, to_left
    )


def view_contrast(
    clean: Tensor,
    view: Tensor,
    same: Tensor,
    tau: float = 0.1,
    literal: bool = False,
    support: Support | None = None,
) -> Tensor:
    """User-user and item-item contrast with one perturbed view: MIC Eqs. 7-8, cosine.

    The anchor is clean, its positive is its own perturbed view, its negatives are the other clean rows
    (DECISIONS 20); *literal* leaves the positive out of the denominator as printed.

    Args:
        clean, view: float [N, d].
        same: bool [N, N], rows that show the same user or item and so are no negatives of each other.
        support: what was mined for the anchors.
    """
    clean, view = unit(clean), unit(view)
    itself = torch.eye(len(clean), dtype=torch.bool, device=clean.device)
    own = (clean * view).sum(-1) / tau
    return _directed(clean, own, clean @ clean.T / tau, same | itself, tau, support, literal)


def nt_xent(first: Tensor, second: Tensor, same: Tensor, tau: float = 0.1, support: Support | None = None) -> Tensor:
    """Two perturbed views of each row, with the 2(N - 1) other views as negatives (MIC 2.4.1; SimCLR).

    Args:
        first, second: float [N, d].
        same: bool [N, N], as in :func:`view_contrast`.
        support: what was mined for the rows, for either view.

    Returns:
        float [N], the mean over both views as anchors.
    """
    views = unit(torch.cat([first, second]))
    blocked = (same | torch.eye(len(first), dtype=torch.bool, device=first.device)).repeat(2, 2)
    own = (views[: len(first)] * views[len(first) :]).sum(-1).repeat(2) / tau
    if support is not None:
        near, near_valid, hard, hard_valid = (
            torch.cat([part, part]) for part in (support.near, support.near_valid, support.hard, support.hard_valid)
        )
        support = Support(near, near_valid, hard, hard_valid, support.weight)
    return _directed(views, own, views @ views.T / tau, blocked, tau, support).view(2, -1).mean(0)


def _directed(
    anchor: Tensor,
    own: Tensor,
    others: Tensor,
    blocked: Tensor,
    tau: float,
    support: Support | None,
    literal: bool = False,
) -> Tensor:
    """One direction of a contrast: unit anchors [A, d], scores of their own positives [A] and of the batch [A, S]."""
    if support is None:
        return softmax_loss(own, others, blocked, literal)
    near, hard = (torch.einsum("ad,and->an", anchor, unit(x)) / tau for x in (support.near, support.hard))
    positive = torch.cat([own[:, None], near], 1)
    weight = torch.cat([torch.ones_like(own)[:, None], support.near_valid * support.weight], 1)
    negative, blocked = torch.cat([others, hard], 1), torch.cat([blocked, ~support.hard_valid], 1)
    return multi_positive(positive, weight, negative, blocked, literal)


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
