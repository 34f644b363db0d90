"""Cold and warm users: what lists reach by the length of the history."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from micgraph.evaluation import EvalData, Result
from micgraph.knn import Ragged

STARTS = (0, 1, 5, 20, 50)
"""Fewest known items in the history of each bucket; users with fewer than 5 are cold in every table."""


@dataclass(frozen=True)
class Bucket:
    """Users whose histories have about as many known items.

    Attributes:
        name: such as "1-4".
        users: how many.
        clicks: held-out clicks of theirs.
        recall: mean over them, NaN where there are none; as ``hit``, the share of their clicks that is found.
        hit: see recall.
    """

    name: str
    users: int
    clicks: int
    recall: float
    hit: float


def by_history(result: Result, data: EvalData, k: int) -> list[Bucket]:
    """A result at the cut ``k``, by the known items (repeats count) in the histories of ``data``."""
    length = known_items(data.histories)
    recall, one = result.column(f"recall@{k}")
    hit, clicks = result.column(f"hit@{k}")
    found = []
    for start, end in zip(STARTS, [*STARTS[1:], None], strict=True):
        mine = (length >= start) if end is None else (length >= start) & (length < end)
        name = f"{start}+" if end is None else str(start) if end == start + 1 else f"{start}-{end - 1}"
        means = [_mean(values[mine], weight[mine]) for values, weight in ((recall, one), (hit, clicks))]
        found.append(Bucket(name, int(mine.sum()), int(clicks[mine].sum()), *means))
    return found


def known_items(histories: Ragged) -> Tensor:
    """Events of each history on items that the graph knows: int64 [B]."""
    count = histories.indptr.diff()
    unknown = count.new_zeros(len(count)).index_add_(0, histories.owner(), (histories.items < 0).long())
    return count - unknown


def _mean(values: Tensor, weight: Tensor) -> float:
    return float((values * weight).double().sum() / weight.double().sum())
