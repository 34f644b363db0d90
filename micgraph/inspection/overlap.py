"""Which edges relations share, a block of rows at a time, so that the memory does not grow with the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.progress import progress_bar
from micgraph.schema import EDGE_TYPES

BLOCK = 2**22
"""Edges that are looked at together, unless one row alone has more."""


@dataclass(frozen=True)
class Overlap:
    """Edges that two relations between the same types of nodes share; an edge that repeats counts once.

    Attributes:
        first, second: the relations.
        edges: of the first and of the second.
        shared: edges of both.
        chance: edges expected in both if every node kept how many go from it and to it in each, and all else were
            random: two relations that both prefer popular items share some edges for that alone.
    """

    first: str
    second: str
    edges: tuple[int, int]
    shared: int
    chance: float

    @property
    def lift(self) -> float:
        """How many times more edges are shared than by chance; NaN where chance gives none."""
        return self.shared / self.chance if self.chance else float("nan")


def overlaps(graph: RecGraph) -> list[Overlap]:
    """The overlap of every two relations between the same types of nodes."""
    ends = {name: EDGE_TYPES[name][::2] for name in graph.relations}
    return [_overlap(graph, a, b) for a, b in combinations(ends, 2) if ends[a] == ends[b]]


def distinct_edges(rel: Relation) -> int:
    """Edges without repetitions, as of a user's second click on an item."""
    return sum(len(keys) for _, _, (keys,) in _blocks([rel], "distinct clicks"))


def _overlap(graph: RecGraph, first: str, second: str) -> Overlap:
    rels = [graph.relation(first), graph.relation(second)]
    n_rows, n_cols = rels[0].n_rows, rels[0].n_cols
    begins, ends, shared = np.zeros((2, n_rows)), np.zeros((2, n_cols)), 0
    for begin, end, both in _blocks(rels, f"{first} and {second}"):
        for side, keys in enumerate(both):
            begins[side, begin:end] = np.bincount(keys // n_cols - begin, minlength=end - begin)
            ends[side] += np.bincount(keys % n_cols, minlength=n_cols)
        shared += _common(*both)
    loops = EDGE_TYPES[first][0] != EDGE_TYPES[first][2]
    edges = (int(begins[0].sum()), int(begins[1].sum()))
    return Overlap(first, second, edges, shared, _chance(begins, ends, loops))


def _chance(begins: NDArray[np.float64], ends: NDArray[np.float64], loops: bool) -> float:
    """Edges expected in both of two relations that are independent but for the degrees of the nodes.

    Relation r has the edge from i to j with a chance in proportion to begins[r, i] ends[r, j], such that it has as many
    edges as it has; the sum of the products of both chances over all pairs needs no loop over pairs.

    Args:
        begins, ends: [2, rows] and [2, columns], edges from and to each node.
        loops: whether a pair may be a node and itself; where not, these pairs are left out of all sums.
    """
    pairs = [begins[0] * begins[1], ends[0] * ends[1]]
    products = pairs[0].sum() * pairs[1].sum() - (0 if loops else pairs[0] @ pairs[1])
    edges = begins.sum(1)
    possible = edges**2 - (0 if loops else (begins * ends).sum(1))
    return float(products * np.prod(edges / possible)) if (possible > 0).all() else 0.0


def _common(mine: NDArray[np.int64], theirs: NDArray[np.int64]) -> int:
    """How many numbers are in both, each sorted and distinct."""
    few, many = sorted((mine, theirs), key=len)
    at = np.searchsorted(many, few).clip(max=max(len(many) - 1, 0))
    return int((many[at] == few).sum()) if len(many) else 0


def _blocks(rels: list[Relation], title: str) -> Iterator[tuple[int, int, list[NDArray[np.int64]]]]:
    """Ranges of rows, with each relation's distinct edges of these rows, sorted, as row * columns + column."""
    edges = sum(rel.n_edges for rel in rels)
    with progress_bar(total=edges, desc=title, unit="edges", unit_scale=True, delay=2) as bar:
        for begin, end in _ranges(rels):
            keys = [_keys(rel, begin, end) for rel in rels]
            bar.update(sum(int(rel.indptr[end] - rel.indptr[begin]) for rel in rels))
            yield begin, end, keys


def _ranges(rels: list[Relation]) -> Iterator[tuple[int, int]]:
    """Ranges of rows with about :data:`BLOCK` edges each, of all relations together."""
    before = torch.stack([rel.indptr for rel in rels]).sum(0)
    begin = 0
    while begin < rels[0].n_rows:
        last = int(torch.searchsorted(before, before[begin] + BLOCK, right=True)) - 1
        end = min(max(last, begin + 1), rels[0].n_rows)
        yield begin, end
        begin = end


def _keys(rel: Relation, begin: int, end: int) -> NDArray[np.int64]:
    start, stop = int(rel.indptr[begin]), int(rel.indptr[end])
    row = torch.repeat_interleave(torch.arange(begin, end, device=rel.device), rel.indptr[begin : end + 1].diff())
    keys: NDArray[np.int64] = (row * rel.n_cols + rel.col[start:stop]).cpu().numpy()
    return keys if rel.time is None else np.unique(keys)  # rows without times are strictly ordered by column
