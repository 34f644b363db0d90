"""Items by popularity, in parts of the catalogue that were clicked equally often."""

from __future__ import annotations

import torch
from torch import Tensor

N_DECILES = 10


def deciles(clicks: Tensor) -> Tensor:
    """Ten groups of items, the rarest first, each with about a tenth of all clicks.

    Deciles of clicks, not of items: on long-tailed data nine tenths of the items have next to no test clicks, and a
    group of them would say nothing. Items are sorted by their clicks (of equal ones the smaller number first) and laid
    end to end, each as long as it has clicks; an item is in the tenth in which its middle lies. So a group differs from
    a tenth by less than an item, and one item with more clicks than that leaves groups beside its own empty.

    Args:
        clicks: int64 [n_items], clicks in the graph.

    Returns:
        int64 [n_items], 0 (rarest) to 9 (most popular); items without clicks are in 0.
    """
    count, order = clicks.long().sort(stable=True)
    upto = count.cumsum(0)
    middle = 2 * upto - count  # twice it, in whole numbers
    group = torch.zeros_like(count)
    group[order] = N_DECILES * middle // (2 * count.sum()).clamp(min=1)
    return group
