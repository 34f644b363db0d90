"""Rows of two relations as one: each row comes whole from the old or from the new one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from micgraph.graph.relation import Relation, row_cumsum, spans

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Splice:
    """Where the rows of a spliced relation come from; both kinds keep their order.

    Attributes:
        stays: bool [N old], which rows of the old relation are taken.
        fresh: bool [N], which rows of the result are those of the new relation, all of which are taken.
    """

    stays: Tensor
    fresh: Tensor

    def values(self, old: Tensor, new: Tensor) -> Tensor:
        """One value a row: [N] of ``old`` [N old] and ``new``."""
        out = old.new_empty(len(self.fresh))
        out[self.fresh] = new
        out[~self.fresh] = old[self.stays]
        return out

    def ids(self, old: pa.ChunkedArray, new: pa.ChunkedArray) -> pa.ChunkedArray:
        """The same for ids, in the type of the new ones."""
        import pyarrow as pa

        old = old if old.type == new.type else old.cast(new.type)
        number = torch.arange(len(old) + len(new))
        return pa.chunked_array([*old.chunks, *new.chunks], new.type).take(
            self.values(number[: len(old)], number[len(old) :]).numpy()
        )

    def edges(self, old: Relation, new: Relation) -> Splice:
        """The splice of their edges instead of their rows."""
        degree = self.values(old.degree(), new.degree())
        return Splice(self.stays.repeat_interleave(old.degree()), self.fresh.repeat_interleave(degree))

    def relation(self, old: Relation, new: Relation) -> Relation:
        """The rows of both; what ``old`` does not carry (times, counts), the result does not.

        Args:
            old, new: with columns in the numbers of the result, and times since its epoch.
        """
        edges, theirs = self.edges(old, new), new.tensors()
        parts = {name: edges.values(x, theirs[name]) for name, x in old.tensors().items() if name != "indptr"}
        indptr = _offsets(self.values(old.degree(), new.degree()))
        return Relation(indptr, n_cols=new.n_cols, **parts)


def some_rows(rel: Relation, rows: Tensor) -> Relation:
    """The relation with the rows int64 [B] only, in this order."""
    length = rel.degree(rows)
    edge = spans(rel.indptr[rows], length)[1]
    parts = {name: x[edge] for name, x in rel.tensors().items() if name != "indptr"}
    return Relation(_offsets(length), n_cols=rel.n_cols, **parts)


def renumbered(rel: Relation, number: Tensor) -> Relation:
    """A relation of items ordered by column, with other numbers.

    Args:
        number: int64 [n items], the new number of each.
    """
    row, col = number[rel.row_index()], number[rel.col.long()]
    order = torch.from_numpy(np.lexsort((col.numpy(), row.numpy())))
    indptr = _offsets(torch.bincount(row, minlength=rel.n_rows))
    cum = None if rel.cum is None else row_cumsum(indptr, rel.weight()[order])
    score = None if rel.score is None else rel.score[order]
    return replace(rel, indptr=indptr, col=col[order].int(), cum=cum, score=score)


def _offsets(length: Tensor) -> Tensor:
    indptr = torch.zeros(len(length) + 1, dtype=torch.int64)
    torch.cumsum(length, 0, out=indptr[1:])
    return indptr
