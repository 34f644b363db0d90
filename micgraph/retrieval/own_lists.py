"""Lists of items of which each user has its own: searched, laid out in a given order, filled up."""

from __future__ import annotations

import torch
from torch import Tensor

from micgraph.knn import Ragged, VectorIndex
from micgraph.knn.search import pad, prepare

BLOCK = 1 << 24
"""Numbers of item vectors at a time (float32: 64 MiB)."""


def among_own(
    queries: Tensor, index: VectorIndex, k: int, only: Ragged, exclude: Ragged | None
) -> tuple[Tensor, Tensor]:
    """The ``k`` best of each query's own list, best first, equal scores by smaller item.

    Args:
        queries: float [B, d] or [B, K, d], of which the best counts.
        only: B lists of items, ascending, each once.
        exclude: items that a query must not get.

    Returns:
        scores float32 and items int64 [B, k]; -inf and -1 where there are fewer.
    """
    items, score = padded(only, only.items, -1), padded(only, _scores(queries, index, only), -torch.inf)
    if exclude is not None:
        score = score.masked_fill(exclude.contains(items), -torch.inf)
    value, order = torch.sort(score, dim=1, descending=True, stable=True)
    return pad(value[:, :k], items.gather(1, order)[:, :k], k)


def padded(lists: Ragged, values: Tensor, blank: float) -> Tensor:
    """``values`` [S] of the items of B lists as [B, longest]; ``blank`` behind them."""
    width = lists.longest()
    out = torch.full((lists.n_rows, width), blank, dtype=values.dtype, device=values.device)
    out[torch.arange(width, device=values.device) < lists.indptr.diff()[:, None]] = values
    return out


def in_order(lists: Ragged, order: Tensor) -> Tensor:
    """The items of each list as they stand in ``order`` int64 [N], a permutation of all items: int64 [B, longest], -1
    behind them."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    key = torch.sort(lists.owner() * len(order) + place[lists.items]).values
    return padded(lists, order[key % len(order)], -1)


def fill(items: Tensor, popular: Tensor, exclude: Ragged | None) -> Tensor:
    """Put popular items where ``items`` int64 [B, k] has -1, each item once and nothing excluded.

    Args:
        popular: int64 [C] or [B, C], what may be used, the best first; -1 stands for nothing.

    Returns:
        int64 [B, k]; -1 only where ``popular`` is used up.
    """
    k = items.shape[1]
    if not bool((items < 0).any()):
        return items
    longest = 0 if exclude is None else exclude.longest()
    spare = popular[..., : 2 * k + longest].expand(len(items), -1)  # at most k + longest of them cannot be used
    taken = Ragged(torch.arange(len(items) + 1, device=items.device) * k, items.reshape(-1)).contains(spare)
    if exclude is not None:
        taken |= exclude.contains(spare)
    row = torch.cat([items, torch.where(taken, -1, spare)], dim=1)
    return row.gather(1, torch.sort((row < 0).byte(), dim=1, stable=True).indices[:, :k])


def _scores(queries: Tensor, index: VectorIndex, lists: Ragged) -> Tensor:
    """Of each item of each list its score by the index's metric: float32 [S]."""
    queries, owner = prepare(queries, index.metric), lists.owner()
    wide = queries if queries.dim() == 3 else queries[:, None]
    parts = [wide.new_zeros(0)]
    for at in torch.arange(len(owner), device=owner.device).split(max(1, BLOCK // max(1, wide[0].numel()))):
        vectors = prepare(index.vectors[lists.items[at]], index.metric)
        parts.append(torch.einsum("nkd,nd->nk", wide[owner[at]], vectors).amax(1))
    return torch.cat(parts)
