"""Numbers of a whole graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.graph.fields import Field
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.graph.summary import Summary, degrees, quantiles
from micgraph.inspection.overlap import Overlap, distinct_edges, overlaps
from micgraph.schema import CLICKS, CONTAINS, EDGE_TYPES, ITEM, USER

EXAMPLES, BINS = 5, 60

Spread = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Distinct values in rising order, and how many nodes have each."""


@dataclass(frozen=True)
class FieldFacts:
    """One field.

    Attributes:
        node, name, kind: the type of its nodes, its name and kind.
        size: distinct values (categorical, multi), or width (dense, embedding).
        unknown: nodes without a known value; None where that is not kept (dense, embedding).
    """

    node: str
    name: str
    kind: str
    size: int
    unknown: int | None


@dataclass(frozen=True)
class Sessions:
    """Sessions by length.

    Attributes:
        lengths: clicks of a session -> sessions.
        clicks: a session's number of clicks at the summary's quantiles.
        seconds: from a session's first click to its last, at the summary's quantiles.
        single: sessions of one click.
    """

    lengths: Spread
    clicks: tuple[int, ...]
    seconds: tuple[int, ...]
    single: int


@dataclass(frozen=True)
class Times:
    """When clicks are.

    Attributes:
        first, last: seconds since 1970 UTC.
        clicks: all of them.
        repeats: clicks of a user on an item that he clicks earlier or in the same second.
        edges, counts: clicks in :data:`BINS` equal stretches of time; edges in seconds since 1970 UTC.
    """

    first: int
    last: int
    clicks: int
    repeats: int
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Alone:
    """Items that a relation does not reach, from either end.

    Attributes:
        relation: its name, or "any relation".
        count: of such items.
        examples: internal numbers of the first few.
    """

    relation: str
    count: int
    examples: tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """Numbers of a whole graph, by :func:`facts_of`.

    Attributes:
        summary: counts of nodes, edges and refused rows, quantiles of degrees.
        carried: relation -> what its edges have: "time", "count", "score".
        fields: of items, then of users.
        degrees: as in the summary, in full.
        sessions: None without the relation ``contains``.
        times: None where clicks have no times.
        overlaps: of relations between the same types of nodes.
        alone: items without an edge, by relation and in all.
    """

    summary: Summary
    carried: dict[str, tuple[str, ...]]
    fields: tuple[FieldFacts, ...]
    degrees: dict[str, Spread]
    sessions: Sessions | None
    times: Times | None
    overlaps: tuple[Overlap, ...]
    alone: tuple[Alone, ...]


def facts_of(graph: RecGraph) -> Facts:
    """Count everything; edges are read a few times, and the memory beside the graph is a few numbers a node."""
    known = degrees(graph)
    sides = ((ITEM, graph.item_fields), (USER, graph.user_fields))
    return Facts(
        summary=graph.summary(),
        carried={name: _carried(rel) for name, rel in graph.relations.items()},
        fields=tuple(_field(node, field) for node, fields in sides for field in fields.values()),
        degrees={name: _spread(degree) for name, degree in known.items()},
        sessions=_sessions(graph.relations[CONTAINS]) if CONTAINS in graph.relations else None,
        times=_times(graph),
        overlaps=tuple(overlaps(graph)),
        alone=tuple(_alone(graph, known)),
    )


def _carried(rel: Relation) -> tuple[str, ...]:
    named = {"time": rel.time, "count": rel.cum, "score": rel.score}
    return tuple(name for name, values in named.items() if values is not None)


def _field(node: str, field: Field) -> FieldFacts:
    if field.kind in ("dense", "embedding"):
        return FieldFacts(node, field.name, field.kind, field.size, None)
    unknown = int((field.values == 0).sum())
    if field.offsets is not None:
        known = torch.zeros(len(field), dtype=torch.bool)
        owner = torch.repeat_interleave(torch.arange(len(field)), field.offsets.cpu().diff())
        known[owner[field.values.cpu() > 0]] = True
        unknown = int((~known).sum())
    return FieldFacts(node, field.name, field.kind, field.size - 1, unknown)


def _spread(values: Tensor) -> Spread:
    found, counts = np.unique(values.cpu().numpy(), return_counts=True)
    return found.astype(np.int64), counts.astype(np.int64)


def _sessions(contains: Relation) -> Sessions:
    length = contains.degree()
    filled = contains.indptr[:-1][length > 0], contains.indptr[1:][length > 0]
    seconds = torch.zeros(0, dtype=torch.int64)
    if contains.time is not None:
        seconds = contains.time[filled[1] - 1].long() - contains.time[filled[0]]
    return Sessions(_spread(length), quantiles(length), quantiles(seconds), int((length == 1).sum()))


def _times(graph: RecGraph) -> Times | None:
    clicks = graph.relations[CLICKS]
    if clicks.time is None or not clicks.n_edges:
        return None
    first, last = int(clicks.time.min()), int(clicks.time.max())
    counts, edges = np.histogram(clicks.time.cpu().numpy(), BINS, (first, max(last, first + 1)))
    repeats = clicks.n_edges - distinct_edges(clicks)
    return Times(first + graph.epoch, last + graph.epoch, clicks.n_edges, repeats, edges + graph.epoch, counts)


def _alone(graph: RecGraph, known: dict[str, Tensor]) -> list[Alone]:
    everywhere = torch.zeros(graph.n_items, dtype=torch.int64, device=graph.relations[CLICKS].device)
    found = []
    for name in graph.relations:
        source, _, target = EDGE_TYPES[name]
        ends = [
            known[key]
            for node, key in ((source, f"{source} -> {name}"), (target, f"{target} <- {name}"))
            if node == ITEM
        ]
        if ends:
            edges = torch.stack(ends).sum(0)
            everywhere += edges
            found.append(_without(name, edges))
    return [*found, _without("any relation", everywhere)]


def _without(name: str, edges: Tensor) -> Alone:
    places = (edges == 0).nonzero().flatten()
    return Alone(name, len(places), tuple(places[:EXAMPLES].tolist()))
