"""Tables read at many places at once: by tensor programs on a GPU, by compiled loops on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def stretch(table: Tensor, first: Tensor, stop: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Slices of a flat table side by side, padded to one length.

    Args:
        table: integers [n].
        first, stop: int64 [B], where each slice begins and ends; it has at most ``size`` entries, or none.
        size: T.

    Returns:
        int64 [B, T], -1 after a slice's end, and bool [B, T], which entries there are.
    """
    return (_stretch_compiled if table.device.type == "cpu" else _stretch_by_tensors)(table, first, stop, size)


def _stretch_compiled(table: Tensor, first: Tensor, stop: Tensor, size: int) -> tuple[Tensor, Tensor]:
    from micgraph.graph import row_kernel

    found = torch.empty(len(first), size, dtype=torch.int64)
    mask = torch.empty(len(first), size, dtype=torch.bool)
    row_kernel.stretch(*(x.numpy() for x in (table, first, stop, found, mask)))
    return found, mask


def _stretch_by_tensors(table: Tensor, first: Tensor, stop: Tensor, size: int) -> tuple[Tensor, Tensor]:
    at = first[:, None] + torch.arange(size, device=first.device)
    mask = at < stop[:, None]
    return torch.where(mask, table[torch.where(mask, at, 0)].long(), -1), mask


def search(
    values: Tensor, start: Tensor, end: Tensor, target: Tensor, right: bool, longest: int | None = None
) -> Tensor:
    """Binary search in slices of a flat tensor: the first position in [start, end) whose value is >= target
    (> target if ``right``), or ``end``. ``start``, ``end``, ``target`` and what is found are of one shape.

    Args:
        longest: no slice is longer; None: the slices are asked, for which a GPU has to be waited for.
    """
    if values.device.type == "cpu":
        return _search_compiled(values, start, end, target, right)
    return _search_by_tensors(values, start, end, target, right, longest)


def _search_by_tensors(
    values: Tensor, start: Tensor, end: Tensor, target: Tensor, right: bool, longest: int | None = None
) -> Tensor:
    """log2(longest) steps, each on the whole batch."""
    low, high = start.clone(), end.clone()
    if longest is None:
        longest = int((end - start).max()) if len(start) else 0
    for _ in range(longest.bit_length()):
        middle = (low + high) >> 1
        value = values[middle.clamp(max=max(values.numel() - 1, 0))]
        go_right = (value <= target) if right else (value < target)
        go_right = go_right & (low < high)
        low, high = torch.where(go_right, middle + 1, low), torch.where(go_right, high, middle)
    return low


def _search_compiled(values: Tensor, start: Tensor, end: Tensor, target: Tensor, right: bool) -> Tensor:
    from micgraph.graph import row_kernel

    found = torch.empty(start.shape, dtype=torch.int64)
    slices = (x.reshape(-1).numpy() for x in (start, end, target))
    row_kernel.search(values.numpy(), *slices, right, found.view(-1).numpy())
    return found
