"""Facts, leaks and egos as tables, which a terminal and a page show alike."""

from __future__ import annotations

from collections.abc import Sequence

from micgraph.graph.recgraph import RecGraph
from micgraph.graph.summary import HEADS
from micgraph.graph.tables import Table
from micgraph.graph.times import SECOND, date_text
from micgraph.inspection.ego import Ego
from micgraph.inspection.facts import Facts
from micgraph.inspection.leaks import Leaks
from micgraph.schema import EDGE_TYPES


def of_facts(facts: Facts, graph: RecGraph) -> list[Table]:
    """Schema, counts, degrees, sessions, times, overlap and items without edges."""
    nodes, _, degrees, *rest = facts.summary.tables()
    tables = [nodes, _relations(facts), *_fields(facts), degrees]
    tables += [*_sessions(facts), *_times(facts), *_overlaps(facts), _alone(facts, graph), *rest]
    return tables


def _relations(facts: Facts) -> Table:
    rows = []
    for name, count in facts.summary.edges.items():
        source, _, target = EDGE_TYPES[name]
        rows.append((name, source, target, f"{count:,}", ", ".join(facts.carried[name]) or "-"))
    return Table("relations", ("from", "to", "edges", "each with"), tuple(rows))


def _fields(facts: Facts) -> list[Table]:
    rows = []
    for field in facts.fields:
        unknown = "-" if field.unknown is None else f"{field.unknown:,}"
        rows.append((f"{field.node} {field.name}", field.kind, f"{field.size:,}", unknown))
    note = "size: distinct values, or the width of dense fields and embeddings; unknown: nodes without a known value"
    return [Table("fields", ("kind", "size", "unknown"), tuple(rows), note)] if rows else []


def _sessions(facts: Facts) -> list[Table]:
    if facts.sessions is None:
        return []
    found = facts.sessions
    rows = tuple(
        (name, *(f"{n:,}" for n in row)) for name, row in (("clicks", found.clicks), ("seconds", found.seconds))
    )
    total = int(found.lengths[1].sum())
    note = f"sessions of one click: {found.single:,} of {total:,}{_share(found.single, total)}"
    return [Table("session lengths", HEADS, rows, note)]


def _times(facts: Facts) -> list[Table]:
    if facts.times is None:
        return []
    found = facts.times
    rows = (
        ("first click", date_text(found.first * SECOND)),
        ("last click", date_text(found.last * SECOND)),
        ("repeat clicks", f"{found.repeats:,} of {found.clicks:,}{_share(found.repeats, found.clicks)}"),
    )
    return [Table("times", ("UTC",), rows)]


def _overlaps(facts: Facts) -> list[Table]:
    rows = []
    for found in facts.overlaps:
        for name, other, edges in zip(
            (found.first, found.second), (found.second, found.first), found.edges, strict=True
        ):
            shares = [f"{100 * n / edges:.2f}%" if edges else "-" for n in (found.shared, found.chance)]
            rows.append(
                (
                    f"{name} also {other}",
                    f"{found.shared:,}",
                    f"{edges:,}",
                    *shares,
                    f"{found.lift:.1f}" if found.chance else "-",
                )
            )
    note = "by chance: every node keeps how many edges go from it and to it, all else is random"
    heads = ("edges of both", "of", "share", "by chance", "lift")
    return [Table("overlap", heads, tuple(rows), note)] if rows else []


def _alone(facts: Facts, graph: RecGraph) -> Table:
    rows = []
    for found in facts.alone:
        examples = ", ".join(_named(graph, item) for item in found.examples)
        more = ", ..." if found.count > len(found.examples) else ""
        rows.append(
            (found.relation, f"{found.count:,}", f"{100 * found.count / max(graph.n_items, 1):.1f}%", examples + more)
        )
    return Table("items without an edge", ("items", "share", "such as"), tuple(rows))


def of_leaks(found: Leaks) -> list[Table]:
    """The report on what the graph knows of held-out clicks, and the clicks that leaked."""
    any_user = "leak" if found.kind == "temporal" else f"no leak in a split by {found.kind}"
    same = {True: "yes", False: "no", None: "the graph does not say"}[found.same_split]
    rows = [
        ("made by the graph's own split", same, ""),
        ("held-out clicks", f"{found.clicks:,}", ""),
        ("  that are clicks of the graph", *_judged(found.in_graph, found.clicks, "leak")),
        ("  on items their user clicks in the graph", *_judged(found.repeats, found.clicks)),
        ("  on items the graph does not know", *_judged(found.on_unknown, found.clicks)),
        ("held-out users", f"{found.users:,}", ""),
        ("  that the graph does not know", *_judged(found.unknown_users, found.users)),
        ("held-out items", f"{found.items:,}", ""),
        ("  that the graph does not know", *_judged(found.unknown_items, found.items)),
        ("first held-out click", date_text(found.first * SECOND), ""),
        ("clicks of the graph", f"{found.graph_clicks:,}", ""),
        ("  later than that", *_judged(found.later, found.graph_clicks, any_user)),
        ("  later than their user's own first", *_judged(found.later_same_user, found.graph_clicks, "leak")),
    ]
    verdict = "The graph has clicks that the split keeps out of it." if found.leaking else "No leak."
    tables = [Table(f"leakage: {found.kind}, {found.part}", ("count", "judgement"), tuple(rows), verdict)]
    if found.examples:
        shown = tuple((str(user), str(item), date_text(second * SECOND)) for user, item, second in found.examples)
        note = _cut(len(shown), found.in_graph)
        tables.append(Table("held-out click in the graph", ("item", "time"), shown, note))
    return tables


def _judged(count: int, total: int, if_any: str = "") -> tuple[str, str]:
    return f"{count:,}{_share(count, total)}", if_any if count else ""


def of_ego(found: Ego) -> list[Table]:
    """Fields, edges by relation, neighbours."""
    kind = found.node[0]
    edges = tuple((name, f"{begins:,}", f"{ends:,}") for name, begins, ends in found.edges)
    tables = [Table(f"{kind} {found.name}", ("edges from it", "edges to it"), edges)]
    if found.fields:
        tables.append(Table("field", ("kind", "value"), found.fields))
    for listing in found.listings:
        rows = listing.rows or (("none", *[""] * len(listing.heads)),)
        tables.append(Table(listing.title, listing.heads, rows, _cut(len(listing.rows), listing.total)))
    return tables


def as_text(tables: Sequence[Table]) -> str:
    """Tables with an empty line between them."""
    return "\n\n".join(table.text() for table in tables)


def _named(graph: RecGraph, item: int) -> str:
    return str(item) if graph.items is None else str(graph.items.ids([item])[0].as_py())


def _share(count: int, total: int) -> str:
    return f" ({100 * count / total:.1f}%)" if total else ""


def _cut(shown: int, total: int) -> str:
    return f"{shown:,} of {total:,} are shown" if shown < total else ""
