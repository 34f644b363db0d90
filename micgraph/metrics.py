"""Metrics of ranked lists and of vector spaces (DECISIONS of the protocol: recall, not the papers' printed precision).

A *top list* is int64 [B, N]: one ranking a user, best first, -1 where a ranking is shorter. *Targets* are
:class:`micgraph.knn.Ragged`: the items that should be found, by user. Everything is computed per user, so that a
paired bootstrap over users can read the same numbers as the table. A user without targets has no recall: NaN.

PyTorch Geometric computes what it can, behind :func:`judge`: it takes a pad for an item and counts an item that is
listed twice as two hits, which gave recalls above 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from micgraph.knn import Ragged
from micgraph.schema import InputError

if TYPE_CHECKING:
    from torch_geometric.metrics.link_pred import LinkPredMetric, LinkPredMetricData

_CELLS = 2**24
"""Numbers that :func:`diversity` lays out at a time: pairs of a list's places, or places times codes."""


def recall(top: Tensor, targets: Ragged, ks: Sequence[int]) -> Tensor:
    """``|top-k ∩ targets| / |targets|`` over distinct targets.

    Args:
        top: int64 [B, N].
        targets: B rows; an item that is there twice counts once.
        ks: lengths at which the lists are cut.

    Returns:
        float32 [B, len(ks)], NaN for users without targets.

    Raises:
        InputError: shapes that do not fit, a cut below 1, or a negative target.
    """
    from torch_geometric.metrics import LinkPredRecall

    return _per_user([LinkPredRecall(k) for k in _checked(ks)], judge(top, targets))


def hit_rate(top: Tensor, targets: Ragged, ks: Sequence[int]) -> Tensor:
    """1 where any target is in the top k, else 0 (HR). Arguments, result and errors as :func:`recall`."""
    from torch_geometric.metrics import LinkPredHitRatio

    return _per_user([LinkPredHitRatio(k) for k in _checked(ks)], judge(top, targets))


def ndcg(top: Tensor, targets: Ragged, ks: Sequence[int]) -> Tensor:
    """The standard NDCG: the ideal list begins with min(k, number of targets) hits.

    Arguments, result and errors as :func:`recall`.
    """
    from torch_geometric.metrics import LinkPredNDCG

    return _per_user([LinkPredNDCG(k) for k in _checked(ks)], judge(top, targets))


def ndcg_hits(top: Tensor, targets: Ragged, ks: Sequence[int]) -> Tensor:
    """NDCG as ComiRec's code has it, for comparison with its tables only: the ideal list begins with as many hits as
    the list has, so that one hit at rank 1 scores 1.0 whatever else was missed.

    Arguments, result and errors as :func:`recall`.
    """
    data = judge(top, targets)
    hit = data.pred_rel_mat
    gain = 1.0 / torch.arange(2, hit.shape[1] + 2, device=top.device).float().log2()
    ideal = torch.cat([gain.new_zeros(1), gain.cumsum(0)])
    columns = [(hit[:, :k] * gain[:k]).sum(1) / ideal[hit[:, :k].sum(1)].clamp(min=1e-12) for k in _checked(ks)]
    return _nan_without_targets(torch.stack(columns, 1), data)


def hit_per_click(top: Tensor, clicks: Ragged, ks: Sequence[int]) -> Tensor:
    """How many of each user's test clicks are on an item of his top k; repeated clicks count every time.

    The HIT@k of MicRec is the sum over users divided by the number of clicks.

    Args:
        top: int64 [B, N].
        clicks: B rows of items, repeats included.
        ks: lengths at which the lists are cut.

    Returns:
        int64 [B, len(ks)].

    Raises:
        InputError: as :func:`recall`.
    """
    return hit_by_group(top, clicks, torch.zeros_like(clicks.items), 1, ks)[:, 0]


def hit_by_group(top: Tensor, clicks: Ragged, group: Tensor, n_groups: int, ks: Sequence[int]) -> Tensor:
    """:func:`hit_per_click` over parts of the clicks, such as those on rare items and those on popular ones.

    Args:
        top: int64 [B, N].
        clicks: B rows of S items in all, repeats included.
        group: int64 [S], the part that a click belongs to, -1 for none.
        n_groups: G, how many parts there are.
        ks: lengths at which the lists are cut.

    Returns:
        int64 [B, G, len(ks)].

    Raises:
        InputError: as :func:`recall`.
    """
    owner = _owner(top, clicks)
    rank = places(top, owner, clicks.items)
    found = (rank[:, None] < torch.tensor(_checked(ks), device=top.device)) & (group >= 0)[:, None]
    hits = torch.zeros(len(top) * n_groups, len(ks), dtype=torch.int64, device=top.device)
    hits.index_add_(0, owner * n_groups + group.clamp(min=0), found.long())
    return hits.view(len(top), n_groups, len(ks))


def coverage(top: Tensor, n_items: int, ks: Sequence[int]) -> Tensor:
    """Distinct items recommended to anybody, divided by ``n_items`` that can be: float32 [len(ks)]."""
    lists = [top[:, :k] for k in _checked(ks)]
    return torch.tensor([len(torch.unique(cut[cut >= 0])) / max(n_items, 1) for cut in lists])


def diversity(top: Tensor, category: Tensor, ks: Sequence[int]) -> Tensor:
    """Share of unordered pairs of a list whose categories differ (ComiRec).

    Args:
        top: int64 [B, N].
        category: int64 [n_items]; items without one share the code 0, and so count as alike. Or int64 [n_items, T],
            several codes an item with -1 where there are fewer: then two items differ when they share none.
        ks: lengths at which the lists are cut.

    Returns:
        float32 [B, len(ks)], NaN for lists of fewer than two distinct items.
    """
    valid = (top >= 0) & ~repeated(top)
    if category.dim() == 2:
        width = int(category.max()) + 1 if category.numel() else 1
        step = max(_CELLS // (top.shape[1] * max(top.shape[1], width)), 1)
        parts = zip(top.split(step), valid.split(step), strict=True)
        return torch.cat([_sharing_none(line, there, category, width, _checked(ks)) for line, there in parts])
    code = torch.where(valid, category[top.clamp(min=0)], -1)
    return torch.stack([_differing_pairs(code[:, :k]) for k in _checked(ks)], 1)


def alignment(x: Tensor, y: Tensor) -> Tensor:
    """Mean of ‖x - y‖² over the pairs (x[i], y[i]), on unit vectors; lower is better (Wang & Isola 2020, Eq. 1).

    Args:
        x, y: float [B, d], normalised here.

    Returns:
        A scalar in [0, 4].
    """
    unit = torch.nn.functional.normalize
    return (unit(x, dim=-1) - unit(y, dim=-1)).square().sum(-1).mean()


def uniformity(x: Tensor, t: float = 2.0) -> Tensor:
    """log of the mean of exp(-t ‖x[i] - x[j]‖²) over distinct pairs, on unit vectors; lower is better.

    Args:
        x: float [B, d] with B >= 2, normalised here.
        t: 2 as in Wang & Isola 2020, Eq. 2.

    Returns:
        A scalar in [-4 t, 0].
    """
    exponent = -t * torch.pdist(torch.nn.functional.normalize(x, dim=-1)).square()
    return torch.logsumexp(exponent, 0) - math.log(exponent.numel())


def judge(top: Tensor, targets: Ragged) -> LinkPredMetricData:
    """Lists and targets in the form that PyTorch Geometric's metrics read, with what they stumble over removed.

    Pads and every repetition of an item become an id that is nobody's target; targets become distinct.
    """
    from torch_geometric.metrics.link_pred import LinkPredMetricData

    stranger = max([int(x.max()) for x in (top, targets.items) if x.numel()], default=0) + 1
    pair = torch.unique(_owner(top, targets) * stranger + targets.items)
    guarded = torch.where((top < 0) | repeated(top), stranger, top)
    return LinkPredMetricData(guarded, (pair // stranger, pair % stranger))


def _per_user(metrics: Sequence[LinkPredMetric], data: LinkPredMetricData) -> Tensor:
    columns = [metric.to(data.pred_index_mat.device)._compute(data).float() for metric in metrics]
    return _nan_without_targets(torch.stack(columns, 1), data)


def _nan_without_targets(values: Tensor, data: LinkPredMetricData) -> Tensor:
    return torch.where(data.label_count[:, None] > 0, values, math.nan)


def _owner(top: Tensor, targets: Ragged) -> Tensor:
    """The row of every target: int64 [S]; checks what every metric needs of its arguments."""
    if top.dim() != 2 or not top.shape[1] or top.is_floating_point():
        raise InputError("top", "integers [B, N] with N >= 1", f"{top.dtype} {list(top.shape)}", "pad lists with -1")
    if targets.n_rows != len(top):
        remedy = "pass both for the same users"
        raise InputError("targets", f"{len(top)} rows, as the top lists have", f"{targets.n_rows} rows", remedy)
    if targets.items.numel() and int(targets.items.min()) < 0:
        remedy = "give an item that nobody knows a number past the catalogue, so that it counts as a miss"
        raise InputError("targets", "item indices >= 0", int(targets.items.min()), remedy)
    return targets.owner()


def _checked(ks: Sequence[int]) -> list[int]:
    if not len(ks) or min(ks) < 1:
        raise InputError("ks", "lengths of at least 1", list(ks), "pass for example ks=[20, 50]")
    return [int(k) for k in ks]


def repeated(top: Tensor) -> Tensor:
    """True where an item already stands further up in its list: bool [B, N]."""
    value, order = top.sort(dim=1, stable=True)
    again = torch.zeros_like(top, dtype=torch.bool)
    again[:, 1:] = value[:, 1:] == value[:, :-1]
    return torch.zeros_like(again).scatter_(1, order, again)


def places(top: Tensor, owner: Tensor, item: Tensor) -> Tensor:
    """Where in its owner's list each item is.

    Args:
        top: int64 [B, N].
        owner: int64 [S], rows of ``top``.
        item: int64 [S].

    Returns:
        int64 [S], the place from 0 of the item's first occurrence, beyond every cut where it is absent.
    """
    absent = torch.iinfo(torch.int64).max
    if not top.numel() or not item.numel():
        return torch.full_like(item, absent)
    stride = max(int(top.max()), int(item.max())) + 2
    base = torch.arange(len(top), device=top.device)[:, None] * stride
    key, order = (top.clamp(min=-1) + 1 + base).flatten().sort(stable=True)
    want = owner * stride + item + 1
    at = torch.searchsorted(key, want).clamp(max=len(key) - 1)
    return torch.where(key[at] == want, order[at] % top.shape[1], absent)


def _sharing_none(top: Tensor, valid: Tensor, codes: Tensor, width: int, ks: Sequence[int]) -> Tensor:
    """Share of pairs without a code in common at each cut; codes int64 [n_items, T] below ``width``, -1 for none."""
    has = torch.zeros(*top.shape, width + 1, device=top.device)
    has.scatter_(2, codes[top.clamp(min=0)] + 1, 1)  # column 0 takes what is no code
    has = has[:, :, 1:] * valid[:, :, None]
    pair = (valid[:, :, None] & valid[:, None, :]).triu(1)
    differing = pair & (has @ has.transpose(1, 2) == 0)
    counts = [(differing[:, :k, :k].sum((1, 2)), pair[:, :k, :k].sum((1, 2))) for k in ks]
    return torch.stack([torch.where(total > 0, n / total.clamp(min=1), math.nan) for n, total in counts], 1)


def _differing_pairs(code: Tensor) -> Tensor:
    """Share of pairs with unlike codes in each line (-1: no item there): float32 [B]."""
    value = code.sort(dim=1).values
    start = torch.ones_like(value, dtype=torch.bool)
    start[:, 1:] = value[:, 1:] != value[:, :-1]
    run = start.long().cumsum(1) - 1
    size = torch.zeros_like(value).scatter_add_(1, run, (value >= 0).long())
    total = (code >= 0).sum(1)
    pairs = total * (total - 1) / 2
    alike = (size * (size - 1) / 2).sum(1)
    return torch.where(total > 1, 1 - alike / pairs.clamp(min=1), math.nan)
