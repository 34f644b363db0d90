"""Neighbourhoods of several hops over several relations, deduplicated and relabelled, for message passing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch_geometric.sampler import HeteroSamplerOutput

from micgraph import rng
from micgraph.graph.relation import Relation, locate, spans
from micgraph.graph.tickets import draw
from micgraph.sampling.nodes import Nodes, OwnNodes, SharedNodes
from micgraph.schema import InputError

EdgeType = tuple[str, str, str]


def choose(rel: Relation, rows: Tensor, stop: Tensor, k: int, key: int, sample: Tensor) -> tuple[Tensor, Tensor]:
    """Up to ``k`` distinct edges of each row before an edge offset, every subset equally likely (Floyd's algorithm).

    Args:
        rel: the edges.
        rows: int64 [B].
        stop: int64 [B], offsets; edges at or after them are not chosen.
        k: rows with at most so many edges give all of them.
        key, sample: see :mod:`micgraph.rng`.

    Returns:
        owner int64 [S], places in ``rows``, ascending; and eid int64 [S].
    """
    start = rel.indptr[rows]
    by = _choose_compiled if rel.device.type == "cpu" else _choose_by_tensors
    return by(start, stop, k, key, sample)


def _choose_by_tensors(start: Tensor, stop: Tensor, k: int, key: int, sample: Tensor) -> tuple[Tensor, Tensor]:
    degree = (stop - start).clamp(min=0)
    many, length = degree > k, degree.clamp(max=k)
    total, crowded = torch.stack([length.sum(), many.sum()]).tolist()  # sizes of tensors: waits for the GPU, once
    owner, eid = spans(start, length, total)
    if crowded:  # the others, most of them where k is large, need no lots
        row = _where(many, crowded)
        place = (torch.cumsum(length, 0) - length)[row][:, None] + torch.arange(k, device=row.device)
        eid[place] = start[row][:, None] + _floyd(degree[row], k, key, sample[row])
    return owner, eid


def _where(mask: Tensor, count: int) -> Tensor:
    """``mask.nonzero()[:, 0]`` where it is known how many there are, so that a GPU need not be waited for."""
    place = torch.where(mask, torch.cumsum(mask, 0) - 1, count)
    numbers = torch.arange(len(mask), device=mask.device)
    return numbers.new_zeros(count + 1).scatter_(0, place, numbers)[:count]


def _choose_compiled(start: Tensor, stop: Tensor, k: int, key: int, sample: Tensor) -> tuple[Tensor, Tensor]:
    from micgraph.sampling import hop_kernel

    begin, end = start.numpy(), stop.numpy()
    found = hop_kernel.total(begin, end, k)
    owner, eid = torch.empty(found, dtype=torch.int64), torch.empty(found, dtype=torch.int64)
    hop_kernel.choose(begin, end, k, np.uint64(key), sample.numpy(), owner.numpy(), eid.numpy())
    return owner, eid


def _floyd(degree: Tensor, k: int, key: int, sample: Tensor) -> Tensor:
    """``k`` distinct numbers below each degree, which is larger than ``k``: int64 [B, k]."""
    top = degree[:, None] - k + torch.arange(k, device=degree.device)
    lot = rng.integers(key, sample, k, top + 1)
    chosen = torch.empty_like(lot)
    for i in range(k):
        taken = (chosen[:, :i] == lot[:, i : i + 1]).any(1)
        chosen[:, i] = torch.where(taken, top[:, i], lot[:, i])
    return chosen


def khop(
    relations: Mapping[EdgeType, Relation],
    seeds: Mapping[str, Tensor],
    fanouts: Mapping[EdgeType, Sequence[int]],
    key: int,
    before: Mapping[str, Tensor] | None = None,
    exclude: Mapping[EdgeType, tuple[Tensor, Tensor]] | None = None,
    limit: Mapping[str, Tensor] | None = None,
    weighted: Collection[EdgeType] = (),
) -> HeteroSamplerOutput:
    """Sample neighbourhoods hop by hop, without replacement, each node once.

    Args:
        relations: by PyG edge type (message source, name, message target); rows are the message targets, so that
            ``("item", "rev_clicks", "user")`` goes with the relation ``clicks``, whose rows are users.
        seeds: node type -> int64 [S], distinct nodes.
        fanouts: edge type -> neighbours a node at each hop, the same number of hops for all.
        key: see :mod:`micgraph.rng`.
        before: node type -> int [S], a time for each seed. Every seed then has a tree of its own, in which no timed
            edge at or after its time occurs (PyG calls this disjoint).
        exclude: edge type -> (targets, sources), int64 [X] each: pairs that carry no message, such as the edges
            that are supervised. They are left out after the draw.
        limit: node type -> int [n nodes of the type], a time for each of its nodes: their timed edges at or after it,
            in either direction, carry no message. Where the node is the source they are left out after the draw.
        weighted: edge types that are drawn by their weights, with replacement; their rows are not ordered by time.

    Returns:
        PyG's record: ``node`` by type, seeds first; ``row`` (message source) and ``col`` (message target) as places
        in ``node``; ``edge`` offsets into the relation; ``batch`` (the seed of each node) with ``before``; and the
        numbers of nodes and edges added at each hop.

    Raises:
        InputError: edge types with different numbers of hops, or a timed one that is to be drawn by its weights, which
            no time would bound.
    """
    hops = {len(sizes) for sizes in fanouts.values()}
    if len(hops) != 1:
        raise InputError("fanouts", "as many hops for every edge type", f"{sorted(hops)}", "give lists of one length")
    if timed := [kind for kind in weighted if relations[kind].time is not None]:
        raise InputError("weighted", "relations without times", f"{timed}", "draw timed relations uniformly")
    nodes, bound = _start(relations, seeds, before)
    parts: dict[EdgeType, list[tuple[Tensor, Tensor, Tensor]]] = {kind: [] for kind in fanouts}
    done = dict.fromkeys(nodes, 0)
    for hop in range(hops.pop()):
        ends = {kind: len(found.node) for kind, found in nodes.items()}
        for kind, sizes in fanouts.items():
            rel, target = relations[kind], nodes[kind[2]]
            local = torch.arange(done[kind[2]], ends[kind[2]], device=rel.device)
            rows, tree = target.node[local], target.tree[local]
            lots = (rng.make_key(key, *kind, hop), tree * rel.n_rows + rows)
            stop = None  # a draw by weights takes whole rows
            if kind not in weighted:
                stop = _stop(rel, rows, None if bound is None else bound[tree], (limit or {}).get(kind[2]))
            owner, eid = _drawn(rel, rows, stop, sizes[hop], *lots)
            told = _told(rel, rows, (owner, eid), (exclude or {}).get(kind), (limit or {}).get(kind[0]))
            if told is not None:
                kept = told.nonzero()[:, 0]
                owner, eid = owner[kept], eid[kept]
            source = nodes[kind[0]].add(rel.col, eid, tree[owner])
            parts[kind].append((source, local[owner], eid))
        for kind_name, found in nodes.items():
            found.counts.append(len(found.node) - sum(found.counts))
            done[kind_name] = ends[kind_name]
    return _output(nodes, parts, disjoint=bound is not None)


def _start(
    relations: Mapping[EdgeType, Relation], seeds: Mapping[str, Tensor], before: Mapping[str, Tensor] | None
) -> tuple[dict[str, Nodes], Tensor | None]:
    """The seeds as nodes, each in a tree of its own where there are times, and the trees' times."""
    size: dict[str, int] = {}
    for (source, _, target), rel in relations.items():
        size |= {source: rel.n_cols, target: rel.n_rows}
    widths = {kind: size[kind] for kind in dict.fromkeys([*seeds, *size])}  # trees are numbered as the seeds come
    device = next(iter(relations.values())).device
    none = torch.zeros(0, dtype=torch.int64, device=device)
    seed = {kind: seeds.get(kind, none).long() for kind in widths}
    if before is None:
        return {kind: SharedNodes(seed[kind], width) for kind, width in widths.items()}, None
    nodes: dict[str, Nodes] = {}
    times, trees = [], 0
    for kind, width in widths.items():
        tree = torch.arange(trees, trees + len(seed[kind]), device=device)
        nodes[kind] = OwnNodes(seed[kind], width, tree)
        times.append(before[kind].long() if len(tree) else none)
        trees += len(tree)
    return nodes, torch.cat(times)


def _drawn(rel: Relation, rows: Tensor, stop: Tensor | None, k: int, key: int, sample: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct edges before ``stop``, without it edges by their weights: owner (places in ``rows``), eid, int64 [S]."""
    if stop is not None:
        return choose(rel, rows, stop, k, key, sample)
    _, drawn, there = draw(rel, rows, k, key, sample, weighted=True)
    owner, place = there.nonzero(as_tuple=True)
    return owner, drawn[owner, place]


def _stop(rel: Relation, rows: Tensor, bound: Tensor | None, limit: Tensor | None) -> Tensor:
    """Where each row ends: at a time for each of them, and at a time for each node, where the relation has times."""
    stop = rel.indptr[rows + 1]
    if bound is not None and rel.time is not None:
        stop = locate(rel, rows, bound)
    if limit is not None and rel.time is not None:
        stop = torch.minimum(stop, locate(rel, rows, limit[rows]))
    return stop


def _told(
    rel: Relation,
    rows: Tensor,
    edges: tuple[Tensor, Tensor],
    pairs: tuple[Tensor, Tensor] | None,
    limit: Tensor | None,
) -> Tensor | None:
    """Which of the drawn edges carry a message: bool [S], or None where all do."""
    (owner, eid), told = edges, None
    if pairs is not None:
        supervised = pairs[0].long() * rel.n_cols + pairs[1].long()
        told = ~torch.isin(rows[owner] * rel.n_cols + rel.col[eid], supervised)
    if limit is not None and rel.time is not None:
        early = rel.time[eid] < limit[rel.col[eid].long()]
        told = early if told is None else told & early
    return told


def _output(
    nodes: dict[str, Nodes], parts: dict[EdgeType, list[tuple[Tensor, Tensor, Tensor]]], disjoint: bool
) -> HeteroSamplerOutput:
    row, col, edge = ({kind: torch.cat([p[i] for p in found]) for kind, found in parts.items()} for i in range(3))
    return HeteroSamplerOutput(
        node={kind: found.node for kind, found in nodes.items()},
        row=row,
        col=col,
        edge=edge,
        batch={kind: found.tree for kind, found in nodes.items()} if disjoint else None,
        num_sampled_nodes={kind: found.counts for kind, found in nodes.items()},
        num_sampled_edges={kind: [len(p[0]) for p in found] for kind, found in parts.items()},
    )
