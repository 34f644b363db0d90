"""Neighbour-sampled mini-batches beside PyG's: seeds a second of ours and of ``NeighborLoader`` on torch-sparse.

    python benchmarks/sampler.py [--ml-1m PATH] [--globo PATH] [--epochs 3]

Fan-out [10, 10] over clicks, reverse clicks and co-occurrence, uniform without replacement, batches of 4,096 users, one
thread each. Both give the same things: the distinct nodes of each type, edges in local numbers and the nodes' features
(32 numbers each), which is checked for every batch of the first epoch. They take turns, epoch by epoch; an epoch has
every user once. What PyG prepares when its loader is made (its own copy of the edges) is not timed. Medians; the last
line is JSON with both ratios.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

import micgraph as mg
from micgraph.datasets import globo, movielens_1m
from micgraph.graph.relation import Relation
from micgraph.sampling.khop import EdgeType, khop
from micgraph.schema import CLICKS, CO_OCCURS, ITEM, USER

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BATCH, FANOUT, WIDTH = 4096, [10, 10], 32
READERS: dict[str, Callable[[str], mg.Log]] = {"ml1m": movielens_1m, "globo": globo}
Made = tuple[dict[str, Tensor], dict[EdgeType, Tensor], dict[str, Tensor]]
"""Of a batch: nodes and features by type, edges [2, S] (source, target) by edge type."""


class Sides:
    """Both ways to the same batches of one graph."""

    def __init__(self, graph: mg.RecGraph) -> None:
        generator = torch.Generator().manual_seed(0)
        self.features = {kind: torch.randn(graph.n_nodes[kind], WIDTH, generator=generator) for kind in (USER, ITEM)}
        self.seeds = torch.randperm(graph.n_users, generator=generator)
        self.relations: dict[EdgeType, Relation] = {
            (USER, CLICKS, ITEM): graph.relation(CLICKS, reverse=True),
            (ITEM, f"rev_{CLICKS}", USER): graph.relation(CLICKS),
            (ITEM, CO_OCCURS, ITEM): graph.relation(CO_OCCURS),
        }
        self.loader = _loader(graph, self.features, self.seeds)

    def pyg(self) -> Iterator[Made]:
        """An epoch of PyG's batches."""
        for batch in self.loader:
            yield (
                {kind: batch[kind].n_id for kind in batch.node_types},
                {kind: batch[kind].edge_index for kind in batch.edge_types},
                {kind: batch[kind].x for kind in batch.node_types},
            )

    def ours(self) -> Iterator[Made]:
        """An epoch of ours."""
        fanouts = dict.fromkeys(self.relations, FANOUT)
        for step, seeds in enumerate(self.seeds.split(BATCH)):
            out = khop(self.relations, {USER: seeds}, fanouts, step)
            edges = {kind: torch.stack([out.row[kind], out.col[kind]]) for kind in out.row}
            yield (
                out.node,
                edges,
                {kind: self.features[kind].index_select(0, found) for kind, found in out.node.items()},
            )

    def check(self, made: Made, step: int) -> None:
        """Nodes once, seeds first, features theirs; each node that was expanded with its neighbours, at most 10."""
        nodes, edges, features = made
        seeds = self.seeds[step * BATCH : (step + 1) * BATCH]
        assert torch.equal(nodes[USER][: len(seeds)], seeds)
        for node, found in nodes.items():
            assert len(torch.unique(found)) == len(found) and torch.equal(features[node], self.features[node][found])
        for kind, rel in self.relations.items():
            source, target = edges[kind]
            given = torch.bincount(target, minlength=len(nodes[kind[2]]))
            due = rel.degree(nodes[kind[2]]).clamp(max=FANOUT[0])
            first = len(seeds) if kind[2] == USER else 0
            assert torch.equal(given[:first], due[:first]) and bool(((given == due) | (given == 0)).all())
            pair = nodes[kind[2]][target] * rel.n_cols + nodes[kind[0]][source]
            assert bool(torch.isin(pair, rel.row_index() * rel.n_cols + rel.col.long()).all())


def _loader(graph: mg.RecGraph, features: dict[str, Tensor], seeds: Tensor) -> Any:
    from torch_geometric.loader import NeighborLoader

    data = graph.to_hetero([CLICKS, CO_OCCURS])
    for kind in data.edge_types:
        for name in set(data[kind].keys()) - {"edge_index"}:
            del data[kind][name]
    for node, x in features.items():
        data[node].x = x
    sizes = dict.fromkeys(data.edge_types, FANOUT)
    return NeighborLoader(data, sizes, input_nodes=(USER, seeds), batch_size=BATCH, num_workers=0)


def compare(name: str, graph: mg.RecGraph, epochs: int) -> float:
    """How many times as many seeds a second ours gives as PyG's; prints the epochs' times."""
    sides = Sides(graph)
    seconds: dict[str, list[float]] = {"pyg": [], "ours": []}
    for epoch in range(epochs + 1):
        for side in seconds if epoch % 2 else reversed(seconds):
            begun = time.perf_counter()
            for step, made in enumerate(getattr(sides, side)()):
                if not epoch:  # also warms up, and is not timed
                    sides.check(made, step)
            if epoch:
                seconds[side].append(time.perf_counter() - begun)
    pyg, ours = (float(np.median(found)) for found in seconds.values())
    rates = [graph.n_users / taken for taken in (pyg, ours)]
    print(
        f"{name:<6} {graph.n_users:>9,} users  epoch: PyG {pyg:.2f} s, ours {ours:.2f} s  "
        f"users a second: PyG {rates[0]:,.0f}, ours {rates[1]:,.0f}  {pyg / ours:.1f} times",
        flush=True,
    )
    return pyg / ours


def main(argv: Sequence[str] | None = None) -> None:
    """Compare on both graphs."""
    args = _arguments(argv)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*NeighborSampler.*without.*pyg-lib.*")
    if WITH_PYG_LIB or not WITH_TORCH_SPARSE:
        raise SystemExit("the comparison is with torch-sparse: install the extra 'sparse', and leave out pyg-lib")
    print(f"{platform.machine()}, 1 thread of torch {torch.__version__}, NeighborLoader on torch-sparse, no GPU")
    ratios = {}
    for name, read in READERS.items():
        if path := getattr(args, name):
            ratios[f"speedup_vs_pyg_{name}"] = round(compare(name, mg.build(read(path)), args.epochs), 2)
    print(json.dumps(ratios))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ml-1m", dest="ml1m", default=DATA / "ml-1m", help="folder with ratings.dat")
    parser.add_argument("--globo", default=DATA / "globo", help="clicks.parquet, or the folder that holds it")
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
