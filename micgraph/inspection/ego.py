"""One user or one item, and what lies around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from micgraph.graph.attributes import sources_of
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.graph.times import SECOND, date_text
from micgraph.inspection.values import field_values
from micgraph.retrieval.frames import known
from micgraph.schema import CLICKS, CO_OCCURS, CONTAINS, EDGE_TYPES, HAS, ITEM, SIMILAR, TITLE, USER, InputError

if TYPE_CHECKING:
    import networkx as nx

LISTED, SESSIONS = 20, 10
"""Rows of a list of neighbours and of sessions at most."""
DRAWN = {USER: 6, CLICKS: 12, CO_OCCURS: 8, SIMILAR: 8}
"""Nodes of an ego graph at most: users, and items by the relation through which they are near."""

Node = tuple[str, int]
"""Type and internal number."""
Link = tuple[Node, Node, str, float]
"""Two nodes, the relation, and the weight: clicks, a count, or a similarity (of a mix, how often it is drawn)."""


@dataclass(frozen=True)
class Listing:
    """Some of a node's neighbours or sessions, as texts.

    Attributes:
        title, heads: of the first column and of the others.
        rows: the first few.
        total: how many there are.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int


@dataclass(frozen=True)
class Ego:
    """A node, its fields, its edges by relation, its neighbours, and the small graph that is drawn.

    Attributes:
        node: the user or the item.
        name: its id, and an item's title.
        fields: (name, kind, value).
        edges: (relation, edges from it, edges to it).
        listings: of neighbours and sessions.
        names: label of every node of the ego graph.
        links: its edges.
    """

    node: Node
    name: str
    fields: tuple[tuple[str, str, str], ...]
    edges: tuple[tuple[str, int, int], ...]
    listings: tuple[Listing, ...]
    names: dict[Node, str]
    links: tuple[Link, ...]

    def network(self) -> nx.MultiGraph:
        """The ego graph for networkx: nodes with ``kind`` and ``label``, edges with ``relation`` and ``weight``."""
        import networkx as nx

        graph = nx.MultiGraph()
        for node, label in self.names.items():
            graph.add_node(node, kind=node[0], label=label)
        for source, target, relation, weight in self.links:
            graph.add_edge(source, target, key=relation, relation=relation, weight=weight)
        return graph


def ego_of(graph: RecGraph, user: Any = None, item: Any = None) -> Ego:
    """Look at one user or one item, by the id that the log has.

    Raises:
        UnknownIdError: the graph does not have it.
        InputError: both are given, or the graph has no ids.
    """
    if (user is None) == (item is None):
        raise InputError("user, item", "one of the two", "both", "inspect them one after the other")
    if graph.users is None or graph.items is None:
        raise InputError("graph", "a graph with its external ids", "one without", "load it where pyarrow is installed")
    if user is not None:
        remedy = "take an id of graph.users.values: somebody without a click in the graph's log is not in it"
        return _of_user(graph, int(known(graph.users, [user], USER, remedy)[0]))
    remedy = "take an id of graph.items.values: an item without a click is in it with keep_unclicked only"
    return _of_item(graph, int(known(graph.items, [item], ITEM, remedy)[0]))


def _of_user(graph: RecGraph, user: int) -> Ego:
    clicks = graph.relation(CLICKS)
    row = slice(int(clicks.indptr[user]), int(clicks.indptr[user + 1]))
    times = clicks.time[row].tolist() if clicks.time is not None else [0] * (row.stop - row.start)
    last, counts = {}, dict.fromkeys(clicks.col[row].tolist(), 0)
    for item, time in zip(clicks.col[row].tolist(), times, strict=True):
        last[item], counts[item] = time, counts[item] + 1
    latest = sorted(counts, key=lambda item: (-last[item], item))
    others = _who_clicked(graph, sorted(counts), besides=user)
    rows = [(*_item(graph, i), f"{counts[i]:,}", _moment(graph, last[i])) for i in latest[:LISTED]]
    listings = [Listing("clicked item", ("title", "clicks", "last click"), tuple(rows), len(latest))]
    listings += _sessions(graph, user)
    shown = tuple((_id(graph, (USER, other)), f"{shared:,}") for other, shared in others[:LISTED])
    listings.append(Listing("user with the same items", ("shared items",), shown, len(others)))
    near = [(ITEM, i) for i in latest[: DRAWN[CLICKS]]] + [(USER, other) for other, _ in others[: DRAWN[USER]]]
    return _ego(graph, (USER, user), listings, near)


def _of_item(graph: RecGraph, item: int) -> Ego:
    users, times = _clicks_on(graph, item)
    latest = zip(users[:LISTED], times[:LISTED], strict=True)
    by = tuple((_id(graph, (USER, user)), _moment(graph, time)) for user, time in latest)
    listings = [Listing("click by user", ("time",), by, len(users))]
    near: list[Node] = []
    shapes = {CO_OCCURS: ("sessions together", "{:,.0f}"), SIMILAR: (_likeness(graph), "{:.3f}")}
    found = {name: dict(_neighbours(graph.relation(name), item)) for name in shapes if name in graph.relations}
    for name, ends in found.items():
        order = [name, *(other for other in found if other != name)]  # its own weight first, then what else joins them
        rows = [(*_item(graph, end), *(_weight(found[one], end, shapes[one][1]) for one in order)) for end in ends]
        heads = ("title", *(shapes[one][0] for one in order))
        listings.append(Listing(f"{name} item", heads, tuple(rows[:LISTED]), len(ends)))
        near += [(ITEM, end) for end in list(ends)[: DRAWN[name]]]
    near += [(USER, u) for u in list(dict.fromkeys(users))[: DRAWN[USER]]]
    return _ego(graph, (ITEM, item), listings, near)


def _likeness(graph: RecGraph) -> str:
    """What the weights of similarity edges are: likeness by some sources, or for a mix how often an edge is drawn."""
    table, semantic = graph.items_table, graph.config.get("semantic", "auto")
    titled = table is not None and TITLE in table.column_names and table[TITLE].null_count < len(table)
    sources = sources_of(semantic, graph.item_fields, titled)
    return f"{'weight' if isinstance(semantic, dict) else 'similarity'} by {', '.join(sources)}"


def _weight(ends: dict[int, float], end: int, shape: str) -> str:
    return shape.format(ends[end]) if end in ends else "-"


def _ego(graph: RecGraph, node: Node, listings: Sequence[Listing], near: Sequence[Node]) -> Ego:
    kind, number = node
    fields, vocab = (graph.user_fields, graph.user_vocab) if kind == USER else (graph.item_fields, graph.item_vocab)
    nodes = list(dict.fromkeys([node, *near]))
    name = _id(graph, node)
    title = graph.titles([number])[0] if kind == ITEM else name
    return Ego(
        node=node,
        name=name if title == name else f"{name} ({_line(title, 80)})",
        fields=tuple(field_values(fields, vocab, number)),
        edges=tuple(_edges(graph, node)),
        listings=tuple(listings),
        names={one: _id(graph, one) if one[0] == USER else _line(graph.titles([one[1]])[0], 24) for one in nodes},
        links=tuple(_links(graph, nodes)),
    )


def _edges(graph: RecGraph, node: Node) -> list[tuple[str, int, int]]:
    """A node's edges by relation, from it and to it."""
    kind, number = node
    found = []
    for name, rel in graph.relations.items():
        source, _, target = EDGE_TYPES[name]
        if kind in (source, target):
            begins = int(rel.indptr[number + 1] - rel.indptr[number]) if kind == source else 0
            found.append((name, begins, int((rel.col == number).sum()) if kind == target else 0))
    return found


def _who_clicked(graph: RecGraph, items: list[int], besides: int) -> list[tuple[int, int]]:
    """Other users by the number of distinct ones of the items that they clicked, most first, ties by number."""
    clicks = graph.relation(CLICKS)
    wanted = torch.zeros(clicks.n_cols, dtype=torch.bool, device=clicks.device)
    wanted[items] = True
    edges = wanted[clicks.col].nonzero().flatten()
    user = torch.searchsorted(clicks.indptr, edges, right=True) - 1
    pairs = torch.unique(user * clicks.n_cols + clicks.col[edges])
    shared = torch.bincount(pairs // clicks.n_cols, minlength=clicks.n_rows).cpu().numpy()
    shared[besides] = 0
    order = np.argsort(-shared, kind="stable")[: int((shared > 0).sum())]
    return list(zip(order.tolist(), shared[order].tolist(), strict=True))


def _clicks_on(graph: RecGraph, item: int) -> tuple[list[int], list[int]]:
    """Users and times of the clicks on an item, the latest first, ties by user."""
    clicks = graph.relation(CLICKS)
    edges = (clicks.col == item).nonzero().flatten()
    user = torch.searchsorted(clicks.indptr, edges, right=True) - 1
    time = torch.zeros_like(edges) if clicks.time is None else clicks.time[edges].long()
    order = torch.argsort(-time, stable=True)
    return user[order].tolist(), time[order].tolist()


def _neighbours(rel: Relation, row: int) -> list[tuple[int, float]]:
    """The ends of a row's edges with their weights, heaviest first, ties by number."""
    start, stop = int(rel.indptr[row]), int(rel.indptr[row + 1])
    weights = _weights(rel, start, stop)
    order = torch.argsort(-weights, stable=True)
    return list(zip(rel.col[start:stop][order].tolist(), weights[order].tolist(), strict=True))


def _weights(rel: Relation, start: int, stop: int) -> Tensor:
    """float64, of the edges of one row: counts, cosines, or ones."""
    if rel.score is not None:
        return rel.score[start:stop].double()
    if rel.cum is None:
        return torch.ones(stop - start, dtype=torch.float64)
    return torch.diff(rel.cum[start:stop].double(), prepend=torch.zeros(1, dtype=torch.float64, device=rel.device))


def _links(graph: RecGraph, nodes: Sequence[Node]) -> list[Link]:
    """The edges between the nodes: each pair once a relation, with the larger weight of the two directions."""
    inside = set(nodes)
    found: dict[tuple[Node, Node, str], float] = {}
    for name in (CLICKS, CO_OCCURS, SIMILAR):
        source, _, target = EDGE_TYPES[name]
        for node in nodes if name in graph.relations else ():
            if node[0] != source:
                continue
            ends: dict[int, float] = {}
            for other, weight in _neighbours(graph.relation(name), node[1]):
                ends[other] = ends.get(other, 0.0) + weight  # a user's clicks on one item add up
            for other, weight in ends.items():
                if (target, other) in inside and (target, other) != node:
                    first, second = sorted((node, (target, other))) if source == target else (node, (target, other))
                    found[first, second, name] = max(weight, found.get((first, second, name), weight))
    return [(*key, weight) for key, weight in found.items()]


def _sessions(graph: RecGraph, user: int) -> list[Listing]:
    """The latest sessions of a user, where the graph has sessions."""
    if HAS not in graph.relations or CONTAINS not in graph.relations:
        return []
    has, contains = graph.relation(HAS), graph.relation(CONTAINS)
    found = []
    for session in has.col[int(has.indptr[user]) : int(has.indptr[user + 1])].tolist():
        start, stop = int(contains.indptr[session]), int(contains.indptr[session + 1])
        times = contains.time[start:stop].tolist() if contains.time is not None else []
        found.append((times[0] if times else 0, session, stop - start, times[-1] - times[0] if times else 0))
    latest = sorted(found, reverse=True)[:SESSIONS]
    rows = [(_moment(graph, begin), f"{clicks:,}", f"{seconds:,}") for begin, _, clicks, seconds in latest]
    return [Listing("session's first click", ("clicks", "seconds"), tuple(rows), len(found))]


def _id(graph: RecGraph, node: Node) -> str:
    ids = graph.users if node[0] == USER else graph.items
    assert ids is not None
    return str(ids.ids([node[1]])[0].as_py())


def _item(graph: RecGraph, item: int) -> tuple[str, str]:
    """An item's id and title; no title where it is the id."""
    name, title = _id(graph, (ITEM, item)), graph.titles([item])[0]
    return name, "" if title == name else _line(title, 48)


def _moment(graph: RecGraph, time: int) -> str:
    return date_text((time + graph.epoch) * SECOND)


def _line(text: str, length: int) -> str:
    """A text on one line, cut where it is longer."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."
