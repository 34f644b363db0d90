"""Tables read at many places at once: by tensor programs on a GPU, by compiled loops on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def look_up(table: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    """``table[index]`` where ``mask``, elsewhere -1: int64.

    Args:
        table: integers [n].
        index: int64, any shape; below n where ``mask`` is True.
        mask: bool, of the same shape.
    """
    return (_look_up_compiled if table.device.type == "cpu" else _look_up_by_tensors)(table, index, mask)


def _look_up_compiled(table: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    from micgraph.graph import row_kernel

    found = torch.empty(index.shape, dtype=torch.int64)
    row_kernel.look_up(table.numpy(), *(x.reshape(-1).numpy() for x in (index, mask)), found.view(-1).numpy())
    return found


def _look_up_by_tensors(table: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, table[torch.where(mask, index, 0)].long(), -1)


def mark(table: Tensor, index: Tensor) -> None:
    """Set ``table[i]`` for every ``i >= 0`` of ``index``.

    Args:
        table: bool [n + 1]; its last entry is where a GPU writes what is below 0, so it means nothing.
        index: int64, any shape, below n.
    """
    return (_mark_compiled if table.device.type == "cpu" else _mark_by_tensors)(table, index)


def _mark_compiled(table: Tensor, index: Tensor) -> None:
    from micgraph.graph import row_kernel

    row_kernel.mark(table.numpy(), index.reshape(-1).numpy())


def _mark_by_tensors(table: Tensor, index: Tensor) -> None:
    table.index_fill_(0, torch.where(index < 0, len(table) - 1, index).reshape(-1), True)


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
