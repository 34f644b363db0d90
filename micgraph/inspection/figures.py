"""Facts, leaks and egos as figures; they need matplotlib, the extra ``report``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from micgraph.document import Picture
from micgraph.drawing import INK, MUTED, PALETTE, SIZE, panel
from micgraph.inspection.ego import Ego, Node
from micgraph.inspection.facts import Facts, Sessions, Spread, Times
from micgraph.inspection.leaks import Leaks
from micgraph.inspection.overlap import Overlap
from micgraph.schema import CLICKS, CO_OCCURS, ITEM, SIMILAR, USER

POINTS = 200
"""Points of one colour at most, so that a page stays small."""
_NODES = {USER: PALETTE[0], ITEM: PALETTE[1]}
_EDGES = {CLICKS: PALETTE[0], CO_OCCURS: PALETTE[2], SIMILAR: PALETTE[3]}


def of_facts(facts: Facts, found: Leaks | None = None) -> Iterator[Picture]:
    """Degrees of each relation, session lengths, clicks over time (with the held-out ones, where given), overlap."""
    for name in facts.summary.edges:
        ends = {key: spread for key, spread in facts.degrees.items() if key.split()[-1] == name}
        yield Picture(f"degrees_{name}", _degree_caption(name, ends), _degrees(ends))
    if facts.sessions is not None:
        yield Picture("session_lengths", "Sessions by their number of clicks.", _session_lengths(facts.sessions))
    if facts.times is not None:
        held_out = "" if found is None else f", and the held-out ones of the {found.part} part"
        yield Picture("times", f"Clicks of the graph over time{held_out} (UTC).", _times(facts.times, found))
    if facts.overlaps:
        caption = "Edges of one relation that the other has too; the ticks are what chance gives."
        yield Picture("overlap", caption, _overlaps(facts.overlaps))


def of_ego(found: Ego) -> Iterator[Picture]:
    """The ego graph, drawn with networkx."""
    caption = f"{found.node[0].capitalize()} {found.name} and its nearest; thicker lines weigh more."
    yield Picture("ego", caption, _network(found))


def _degrees(ends: dict[str, Spread]) -> Any:
    figure, axis = panel("edges", "nodes with at least as many")
    for (name, (degree, count)), colour, mark in zip(ends.items(), PALETTE, "os", strict=False):
        some = degree > 0  # a logarithm has no place for none: the caption says how many there are
        degree, left = _thinned(degree[some], count[some][::-1].cumsum()[::-1])
        axis.plot(degree, left, mark, color=colour, ms=3.5, label=name, alpha=0.8, zorder=3)
    _logarithmic(
        axis,
        max(int(degree.max(initial=1)) for degree, _ in ends.values()),
        max(int(count.sum()) for _, count in ends.values()),
    )
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:
    """Points apart enough to be told from each other on a logarithmic axis; ``x`` rises."""
    if len(x) <= POINTS:
        return x, y
    kept = np.unique(np.searchsorted(x, np.geomspace(x[0], x[-1], POINTS)).clip(max=len(x) - 1))
    return x[kept], y[kept]


def _degree_caption(name: str, ends: dict[str, Spread]) -> str:
    none = [f"{int(count[degree == 0].sum()):,} {key.split()[0]}s" for key, (degree, count) in ends.items()]
    return f"Degrees in {name}, both axes logarithmic. Without an edge: {' and '.join(none)} (from either end)."


def _logarithmic(axis: Any, *most: int) -> None:
    """Both axes from 1 to the largest value of each, with figures such as 20k."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

    for name, one, largest in zip("xy", (axis.xaxis, axis.yaxis), most, strict=True):
        axis.set(**{f"{name}scale": "log", f"{name}lim": (0.8, 1.6 * max(largest, 2))})
        one.set_major_locator(LogLocator(subs=(1, 2, 5) if largest < 200 else (1,)))
        one.set_minor_locator(NullLocator())
        one.set_major_formatter(EngFormatter(sep=""))


def _session_lengths(found: Sessions) -> Any:
    figure, axis = panel("clicks of a session", "sessions")
    length, count = found.lengths
    axis.plot(length[length > 0], count[length > 0], "o-", color=PALETTE[0], ms=3.5, linewidth=0.8, zorder=3)
    _logarithmic(axis, int(length.max(initial=1)), int(count.max(initial=1)))
    return figure


def _times(found: Times, held_out: Leaks | None) -> Any:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure, axis = panel("", "clicks")
    width = found.edges[1] - found.edges[0]
    axis.stairs(found.counts, _dates(found.edges), fill=True, color=PALETTE[0], alpha=0.75, label="graph", zorder=3)
    if held_out is not None:
        low, high = held_out.seconds.min(), held_out.seconds.max()
        bins = min(max(int(np.ceil((high - low) / width)), 1), 10 * len(found.counts))
        counts, edges = np.histogram(held_out.seconds, bins, (low, max(high, low + 1)))
        axis.stairs(counts, _dates(edges), color=PALETTE[1], linewidth=1.4, label=held_out.part, zorder=4)
        axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axis.margins(x=0.02)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axis.xaxis.get_offset_text().set(color=MUTED, fontsize=8)
    return figure


def _dates(seconds: Any) -> Any:
    return np.asarray(seconds).astype("datetime64[s]")


def _overlaps(found: tuple[Overlap, ...]) -> Any:
    rows = [
        (f"{name}\nalso {other}", one.shared / edges, one.chance / edges)
        for one in found
        for name, other, edges in zip((one.first, one.second), (one.second, one.first), one.edges, strict=True)
        if edges
    ]
    figure, axis = panel("share of edges", "", (SIZE[0], 1.2 + 0.5 * max(len(rows), 1)))
    places = range(len(rows))
    axis.barh(places, [share for _, share, _ in rows], 0.55, color=PALETTE[0], zorder=3)
    chances = [chance for _, _, chance in rows]
    axis.plot(chances, places, "|", color=PALETTE[1], ms=18, mew=2, zorder=4)
    axis.set_yticks(places, [name for name, _, _ in rows], fontsize=8)
    axis.set_xlim(left=0)
    return figure


def _network(found: Ego) -> Any:
    import networkx as nx

    graph = found.network()
    figure, axis = panel("", "", (6.0, 5.0))
    axis.set_axis_off()
    places = nx.spring_layout(nx.Graph(graph), k=1.6 / max(len(graph), 1) ** 0.5, seed=7, weight=None)
    for name, colour in _EDGES.items():
        links = [(a, b, weight) for a, b, relation, weight in found.links if relation == name]
        if links:
            most = max(weight for _, _, weight in links)
            axis.plot([], [], color=colour, label=name)
            for a, b, weight in links:
                ends = np.array([places[a], places[b]])
                thick = 0.5 + 2.5 * max(weight / most, 0.0) if most > 0 else 0.5
                strong = found.node in (a, b)
                axis.plot(*ends.T, color=colour, linewidth=thick, alpha=0.8 if strong else 0.2, zorder=2)
    for node, label in found.names.items():
        _node(axis, node, label, places[node], node == found.node)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left", bbox_to_anchor=(0.0, 0.0), ncols=3)
    axis.margins(0.16, 0.1)
    return figure


def _node(axis: Any, node: Node, label: str, place: Any, centre: bool) -> None:
    mark = "o" if node[0] == ITEM else "s"
    fill = _NODES[node[0]]
    axis.plot(*place, mark, color=fill, ms=11 if centre else 7, mec=INK if centre else fill, mew=1.5, zorder=4)
    # parse_math: a dollar in a title is no formula
    axis.annotate(
        label,
        place,
        textcoords="offset points",
        xytext=(0, 8 if centre else 6),
        ha="center",
        fontsize=8 if centre else 7,
        color=INK,
        zorder=5,
        parse_math=False,
    )
