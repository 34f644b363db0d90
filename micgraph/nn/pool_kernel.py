"""The compiled loop of :mod:`micgraph.nn.lookup` on the CPU, imported when first needed."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from micgraph.compiled import compiled


@compiled
def add_rows(slope: NDArray[Any], index: NDArray[Any], mask: NDArray[Any], total: NDArray[Any]) -> None:
    """Add each line of ``slope`` [B, d] to every row of ``total`` [U, d] that its valid places name.

    Args:
        index: int64 [B, T], rows of ``total``, -1 the last one.
        mask: bool [B, T].
    """
    for line in range(len(index)):
        for place in range(index.shape[1]):
            if mask[line, place]:
                row = index[line, place]
                if row < 0:
                    row += len(total)
                for k in range(total.shape[1]):
                    total[row, k] += slope[line, k]
