"""What is in a graph, on one screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from micgraph.graph.tables import Table
from micgraph.schema import EDGE_TYPES

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
HEADS = ("min", "25%", "50%", "75%", "90%", "99%", "max")


@dataclass(frozen=True)
class Summary:
    """Counts of a graph; ``str`` gives text, a notebook shows HTML tables.

    Attributes:
        nodes: type -> count.
        edges: relation -> count.
        degrees: "source -> relation" and "target <- relation" -> the degrees at :data:`QUANTILES`.
        refused: reason -> rows that are not in the graph, and items without edges of a source.
        measured: what was done approximately -> the share that was measured.
    """

    nodes: dict[str, int]
    edges: dict[str, int]
    degrees: dict[str, tuple[int, ...]]
    refused: dict[str, int]
    measured: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(table.text() for table in self.tables())

    def _repr_html_(self) -> str:
        return "\n".join(table.html() for table in self.tables())

    def tables(self) -> list[Table]:
        """Nodes, edges, degrees, refused rows, and what was measured, if anything was."""

        def counts(of: dict[str, int]) -> tuple[tuple[str, ...], ...]:
            return tuple((name, f"{count:,}") for name, count in of.items())

        shares = tuple((name, f"{100 * share:.1f}%") for name, share in self.measured.items())
        return [
            Table("nodes", ("count",), counts(self.nodes)),
            Table("edges", ("count",), counts(self.edges)),
            Table("degrees", HEADS, tuple((name, *(f"{d:,}" for d in row)) for name, row in self.degrees.items())),
            Table("refused rows", ("count",), counts(self.refused) or (("none", "0"),)),
            *([Table("measured", ("share",), shares)] if shares else []),
        ]


def summarise(graph: RecGraph) -> Summary:
    """Count the nodes and edges of ``graph``."""
    edges = {name: rel.n_edges for name, rel in graph.relations.items()}
    found = {name: quantiles(degree) for name, degree in degrees(graph).items()}
    return Summary(graph.n_nodes, edges, found, dict(graph.refused), dict(graph.measured))


def degrees(graph: RecGraph) -> dict[str, Tensor]:
    """The degree of every node in every relation, from both ends.

    Returns:
        "source -> relation" and "target <- relation" -> int64 [nodes of that type].
    """
    found = {}
    for name, rel in graph.relations.items():
        source, _, target = EDGE_TYPES[name]
        found[f"{source} -> {name}"] = rel.degree()
        found[f"{target} <- {name}"] = torch.bincount(rel.col, minlength=rel.n_cols)
    return found


def quantiles(values: Tensor) -> tuple[int, ...]:
    """The values at :data:`QUANTILES`, each one of them; zeros where there are none."""
    if not len(values):
        return (0,) * len(QUANTILES)
    return tuple(int(value) for value in np.quantile(values.cpu().numpy(), QUANTILES, method="inverted_cdf"))
