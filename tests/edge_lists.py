"""Rows of edges as lists and as relations, and hypothesis strategies for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

from micgraph.graph.relation import Relation, row_cumsum

N_COLS = 6


@dataclass
class Rows:
    """Edges as lists, and the same as a Relation."""

    edges: list[list[tuple[int, int]]]  # (time or weight, column)
    rel: Relation

    def columns(self, row: int) -> list[int]:
        return [col for _, col in self.edges[row]]

    def start(self, row: int) -> int:
        return sum(len(edges) for edges in self.edges[:row])


def relation(edges: list[list[tuple[int, int]]], timed: bool) -> Relation:
    flat = [edge for row in edges for edge in row]
    indptr = torch.tensor(np.cumsum([0] + [len(row) for row in edges]), dtype=torch.int64)
    col = torch.tensor([c for _, c in flat], dtype=torch.int32)
    first = torch.tensor([v for v, _ in flat], dtype=torch.int32)
    if timed:
        return Relation(indptr, col, N_COLS, time=first)
    return Relation(indptr, col, N_COLS, cum=row_cumsum(indptr, first))


edge = st.tuples(st.integers(0, 5), st.integers(0, N_COLS - 1))
timed_rows = st.lists(
    st.lists(edge, max_size=8).map(lambda r: sorted(r, key=lambda e: e[0])), min_size=1, max_size=5
).map(lambda edges: Rows(edges, relation(edges, timed=True)))
weighted_row = st.dictionaries(st.integers(0, N_COLS - 1), st.integers(1, 4)).map(
    lambda row: [(weight, col) for col, weight in sorted(row.items())]
)
weighted_rows = st.lists(weighted_row, min_size=1, max_size=5).map(
    lambda edges: Rows(edges, relation(edges, timed=False))
)


def some(data: st.DataObject, rows: Rows) -> list[int]:
    return data.draw(st.lists(st.integers(0, len(rows.edges) - 1), max_size=6))


def tensor(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)
