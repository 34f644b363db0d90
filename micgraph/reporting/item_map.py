"""Item vectors on a plane, by t-SNE, and how well they keep categories together, which the plane does not decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.graph.recgraph import RecGraph
from micgraph.schema import CATEGORY

MOST, MOST_IN_ALL = 2_000, 4_000
"""Items on one map, and on all maps of a page, which stays small so."""
LEAST = 5
"""Items without which there is no map."""
NEAREST = 10
SHOWN = 8
"""Categories with a colour of their own."""
OTHER, UNKNOWN = "other categories", "no category"


@dataclass(frozen=True)
class ItemMap:
    """Some items of a run.

    Attributes:
        items: int64 [n], which.
        places: float [n, 2], on the plane; empty where there are fewer than :data:`LEAST`.
        variance: share of the variance of their directions that the two principal components have.
        together: of the :data:`NEAREST` nearest items by cosine the share with an item's own category, mean over the
            items with one; NaN where fewer than two have one.
        chance: the same, had the items been put there at random.
    """

    items: NDArray[np.int64]
    places: NDArray[np.float32]
    variance: float
    together: float
    chance: float


def drawn_items(graph: RecGraph, n_runs: int, seed: int) -> Tensor:
    """The items of every run's map, int64 [n], drawn from the whole catalogue."""
    most = max(min(MOST, MOST_IN_ALL // n_runs), 100)
    order = torch.randperm(graph.n_items, generator=torch.Generator().manual_seed(seed))
    return order[:most].sort().values


def item_map(vectors: Tensor, items: Tensor, graph: RecGraph, seed: int) -> ItemMap:
    """The map of one run.

    Args:
        vectors: float [N, d], the items' own vectors.
        items: int64 [n], those on the map.
        graph: which has the categories.
        seed: of t-SNE.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    unit = torch.nn.functional.normalize(vectors[items.to(vectors.device)].float(), dim=-1).cpu()
    category, points = graph.category.cpu()[items], unit.numpy()
    together, chance = _together(unit, category)
    places, variance = np.zeros((0, 2), np.float32), float("nan")
    if len(items) >= LEAST:
        total = float(points.var(0).sum())
        variance = float(PCA(2, random_state=seed).fit(points).explained_variance_ratio_.sum()) if total > 0 else 1.0
        wide = min(30.0, (len(items) - 1) / 3)
        start = "pca" if total > 0 else "random"
        places = TSNE(2, perplexity=wide, init=start, random_state=seed).fit_transform(points).astype(np.float32)
    return ItemMap(items.numpy(), places, variance, together, chance)


def _together(unit: Tensor, category: Tensor) -> tuple[float, float]:
    """:attr:`ItemMap.together` and its chance, among the items with a category."""
    known = category > 0
    unit, category = unit[known], category[known]
    n = len(unit)
    if n < 2:
        return float("nan"), float("nan")
    near = (unit @ unit.T).fill_diagonal_(-torch.inf).topk(min(NEAREST, n - 1)).indices
    together = (category[near] == category[:, None]).float().mean()
    size = torch.bincount(category).double()
    return float(together), float((size * (size - 1)).sum() / (n * (n - 1)))


def groups(graph: RecGraph, items: NDArray[np.int64]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Name and members, bool [n], of the largest categories of the graph, then of all others, then of none.

    Those without a member among ``items`` int64 [n] are left out; without categories there is one group, of all.
    """
    category = graph.category.cpu().numpy()
    mine = category[items]
    if not (category > 0).any():
        return [("all items", np.ones(len(items), bool))]
    count = np.bincount(category)
    count[0] = 0
    top = [int(code) for code in np.argsort(-count, kind="stable")[:SHOWN] if count[code]]
    found = [(category_name(graph, code), mine == code) for code in top]
    found += [(OTHER, ~np.isin(mine, [0, *top])), (UNKNOWN, mine == 0)]
    return [(name, members) for name, members in found if members.any()]


def category_name(graph: RecGraph, code: int) -> str:
    """The category of a code above 0, empty for 0."""
    if code == 0:
        return ""
    vocab = graph.item_vocab.get(CATEGORY)
    return f"category {code}" if vocab is None else str(vocab[code - 1].as_py())
