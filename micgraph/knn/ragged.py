"""Lists of different lengths as two tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Ragged(NamedTuple):
    """Lists of different lengths, one a row: row b is ``items[indptr[b]:indptr[b + 1]]``.

    Attributes:
        indptr: int64 [B + 1].
        items: int64 [S]; -1 stands for an item nobody knows.
        time: int64 [S], seconds at which the items were clicked, from any moment on; None where nobody knows.
    """

    indptr: Tensor
    items: Tensor
    time: Tensor | None = None

    @property
    def n_rows(self) -> int:
        """B, the number of lists."""
        return self.indptr.numel() - 1

    def owner(self) -> Tensor:
        """The row of every item: int64 [S]."""
        lengths = self.indptr[1:] - self.indptr[:-1]
        return torch.repeat_interleave(torch.arange(self.n_rows, device=self.items.device), lengths)

    def longest(self) -> int:
        """The length of the longest list; 0 where there are none."""
        return int((self.indptr[1:] - self.indptr[:-1]).max()) if self.n_rows else 0

    def rows(self, start: int, stop: int) -> Ragged:
        """The lists of rows ``start`` to ``stop - 1``."""
        indptr = self.indptr[start : stop + 1]
        part = slice(int(indptr[0]), int(indptr[-1]))
        return Ragged(indptr - indptr[0], self.items[part], None if self.time is None else self.time[part])

    def pick(self, rows: Tensor) -> Ragged:
        """The lists of the rows ``rows`` int64 [C], in that order."""
        length = (self.indptr[1:] - self.indptr[:-1])[rows]
        indptr = torch.nn.functional.pad(length.cumsum(0), (1, 0))
        shift = torch.repeat_interleave(self.indptr[rows] - indptr[:-1], length)
        at = torch.arange(len(shift), device=rows.device) + shift
        return Ragged(indptr, self.items[at], None if self.time is None else self.time[at])

    def to(self, device: torch.device) -> Ragged:
        """The same lists on another device."""
        time = None if self.time is None else self.time.to(device)
        return Ragged(self.indptr.to(device), self.items.to(device), time)

    def contains(self, ids: Tensor) -> Tensor:
        """Which of ``ids`` int64 [B, C] are in the list of their row: bool [B, C] (never the id -1)."""
        width = 2 + max(int(t.max()) if t.numel() else 0 for t in (ids, self.items))
        keys = torch.sort(self.owner() * width + self.items + 1).values
        if not keys.numel():
            return torch.zeros_like(ids, dtype=torch.bool)
        wanted = torch.arange(len(ids), device=ids.device)[:, None] * width + ids + 1
        at = torch.searchsorted(keys, wanted).clamp(max=keys.numel() - 1)
        return (keys[at] == wanted) & (ids >= 0)
