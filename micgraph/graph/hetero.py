"""A RecGraph as PyG's ``HeteroData``, for PyG's own loaders and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from micgraph.graph.fields import Fields
from micgraph.graph.relation import Relation
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
        stores, (source, _, target) = _edges(graph.relation(name)), EDGE_TYPES[name]
        data[source, name, target].update(stores)
        if reverse and source != target:
            data[target, f"rev_{name}", source].update({**stores, "edge_index": stores["edge_index"].flip(0)})
        for node in (source, target):
            data[node].num_nodes = graph.n_nodes[node]
    for node, fields in ((ITEM, graph.item_fields), (USER, graph.user_fields)):
        x = _dense(fields)
        if node in data.node_types and x is not None:
            data[node].x = x
    return data


def _edges(rel: Relation) -> dict[str, Tensor]:
    """What PyG keeps of a relation, by PyG's names."""
    named = {"edge_index": torch.stack([rel.row_index(), rel.col.long()])}
    if rel.time is not None:
        named["time"] = rel.time.long()
    if rel.cum is not None:
        named["count"] = rel.weight().long()
    if rel.score is not None:
        named["score"] = rel.score.float()
    return named


def _dense(fields: Fields) -> Tensor | None:
    found = [f.values for f in fields.values() if f.kind in ("dense", "embedding")]
    return torch.cat(found, dim=1) if found else None
