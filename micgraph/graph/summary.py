"""What is in a graph, on one screen."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from micgraph.schema import EDGE_TYPES

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
_HEADS = ("min", "25%", "50%", "75%", "90%", "99%", "max")


@dataclass(frozen=True)
class Summary:
    """Counts of a graph; ``str`` gives text, a notebook shows HTML tables.

    Attributes:
        nodes: type -> count.
        edges: relation -> count.
        degrees: "source -> relation" and "target <- relation" -> the degrees at :data:`QUANTILES`.
        refused: reason -> rows that are not in the graph.
    """

    nodes: dict[str, int]
    edges: dict[str, int]
    degrees: dict[str, tuple[int, ...]]
    refused: dict[str, int]

    def __str__(self) -> str:
        return "\n".join(_text(title, heads, rows) for title, heads, rows in self._tables())

    def _repr_html_(self) -> str:
        return "\n".join(_html(title, heads, rows) for title, heads, rows in self._tables())

    def _tables(self) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
        def counts(of: dict[str, int]) -> list[tuple[str, ...]]:
            return [(name, f"{count:,}") for name, count in of.items()]

        degrees = [(name, *(f"{d:,}" for d in values)) for name, values in self.degrees.items()]
        return [
            ("nodes", ("count",), counts(self.nodes)),
            ("edges", ("count",), counts(self.edges)),
            ("degrees", _HEADS, degrees),
            ("refused rows", ("count",), counts(self.refused) or [("none", "0")]),
        ]


def summarise(graph: RecGraph) -> Summary:
    """Count the nodes and edges of ``graph``."""
    degrees = {}
    for name, rel in graph.relations.items():
        source, _, target = EDGE_TYPES[name]
        degrees[f"{source} -> {name}"] = _quantiles(rel.degree())
        degrees[f"{target} <- {name}"] = _quantiles(rel.col.long().bincount(minlength=rel.n_cols))
    edges = {name: rel.n_edges for name, rel in graph.relations.items()}
    return Summary(graph.n_nodes, edges, degrees, dict(graph.refused))


def _quantiles(degree: Tensor) -> tuple[int, ...]:
    if not len(degree):
        return (0,) * len(QUANTILES)
    return tuple(int(d) for d in np.quantile(degree.cpu().numpy(), QUANTILES, method="inverted_cdf"))


def _text(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    table = [(title, *heads), *rows]
    first, *others = (max(len(row[i]) for row in table) for i in range(len(heads) + 1))
    return "\n".join(
        "  ".join([row[0].ljust(first), *(cell.rjust(w) for cell, w in zip(row[1:], others, strict=True))])
        for row in table
    )


def _html(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in (title, *heads))
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
