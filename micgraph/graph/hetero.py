"""A RecGraph as PyG's ``HeteroData``, for PyG's own loaders and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from micgraph.graph.fields import Fields
from micgraph.schema import EDGE_TYPES, ITEM, USER

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from micgraph.graph.recgraph import RecGraph


def to_hetero(graph: RecGraph, relations: Sequence[str] | None = None, reverse: bool = True) -> HeteroData:
    """Convert a graph.

    Args:
        graph: any graph.
        relations: which ones, all by default.
        reverse: also add ``(item, rev_clicks, user)`` and so on for relations between different node types.

    Returns:
        Nodes that the relations touch, with ``num_nodes`` and, where they have dense or embedding fields, ``x``
        float32 [N, d]; edges with ``edge_index`` int64 [2, E] and, as present, ``time`` int64 [E] (seconds since the
        graph's epoch), ``count`` int64 [E] and ``score`` float32 [E].

    Raises:
        ConfigError: a relation that the graph does not have.
    """
    from torch_geometric.data import HeteroData

    data = HeteroData()
    for name in graph.relations if relations is None else relations:
        rel, (source, _, target) = graph.relation(name), EDGE_TYPES[name]
        edge_index = torch.stack([rel.row_index(), rel.col.long()])
        carried = {
            "time": None if rel.time is None else rel.time.long(),
            "count": None if rel.cum is None else rel.weight().long(),
            "score": None if rel.score is None else rel.score.float(),
        }
        kinds = [((source, name, target), edge_index)]
        if reverse and source != target:
            kinds.append(((target, f"rev_{name}", source), edge_index.flip(0)))
        for kind, edges in kinds:
            data[kind].edge_index = edges
            for key, value in carried.items():
                if value is not None:
                    data[kind][key] = value
        for node in (source, target):
            data[node].num_nodes = graph.n_nodes[node]
    for node, fields in ((ITEM, graph.item_fields), (USER, graph.user_fields)):
        x = _dense(fields)
        if node in data.node_types and x is not None:
            data[node].x = x
    return data


def _dense(fields: Fields) -> Tensor | None:
    found = [f.values for f in fields.values() if f.kind in ("dense", "embedding")]
    return torch.cat(found, dim=1) if found else None
