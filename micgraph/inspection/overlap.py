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
        chance: edges expected in both if every node kept how many it has of each, and all else were drawn uniformly.
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
    source, _, target = EDGE_TYPES[first]
    possible = rels[0].n_cols - (source == target)  # nothing is a neighbour of itself
    edges, shared, chance = np.zeros(2, dtype=np.int64), 0, 0.0
    for begin, end, (mine, theirs) in _blocks(rels, f"{first} and {second}"):
        counts = [np.bincount(keys // rels[0].n_cols - begin, minlength=end - begin) for keys in (mine, theirs)]
        edges += [len(mine), len(theirs)]
        shared += _common(mine, theirs)
        chance += float((counts[0].astype(np.float64) * counts[1]).sum()) / max(possible, 1)
    return Overlap(first, second, (int(edges[0]), int(edges[1])), shared, chance)


def _common(mine: NDArray[np.int64], theirs: NDArray[np.int64]) -> int:
    """How many numbers are in both, each sorted and distinct."""
    few, many = sorted((mine, theirs), key=len)
    at = np.searchsorted(many, few).clip(max=max(len(many) - 1, 0))
    return int((many[at] == few).sum()) if len(many) else 0


def _blocks(rels: list[Relation], title: str) -> Iterator[tuple[int, int, list[NDArray[np.int64]]]]:
    """Ranges of rows, with each relation's distinct edges of these rows, sorted, as row * columns + column."""
    from tqdm.auto import tqdm

    edges = sum(rel.n_edges for rel in rels)
    with tqdm(total=edges, desc=title, unit="edges", unit_scale=True, leave=False, delay=2, disable=None) as bar:
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
