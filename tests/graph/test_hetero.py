"""A graph as HeteroData: the same edges, accepted by PyG's own loaders and convolutions."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv

import micgraph as mg


@pytest.fixture
def graph(tiny_log: Any) -> mg.RecGraph:
    items = tiny_log.items.assign(embedding=[[float(n), 1.0] for n in range(len(tiny_log.items))])
    return mg.build(mg.read_log(tiny_log.clicks, items=items, users=tiny_log.users))


def test_the_same_edges(graph: mg.RecGraph) -> None:
    data = graph.to_hetero()
    assert data.validate()
    for name, rel in graph.relations.items():
        edges = [store for kind, store in zip(data.edge_types, data.edge_stores, strict=True) if kind[1] == name][0]
        expected = [[r, c] for r in range(rel.n_rows) for c in rel.col[rel.indptr[r] : rel.indptr[r + 1]].tolist()]
        assert edges.edge_index.T.tolist() == expected
        assert ("time" in edges, "count" in edges, "score" in edges) == (
            rel.time is not None,
            rel.cum is not None,
            rel.score is not None,
        )
    assert data["user", "clicks", "item"].time.tolist() == graph.relation("clicks").time.tolist()
    assert data["item", "co_occurs", "item"]["count"].tolist() == graph.relation("co_occurs").weight().tolist()
    clicks, back = data["user", "clicks", "item"], data["item", "rev_clicks", "user"]
    assert torch.equal(clicks.edge_index.flip(0), back.edge_index) and torch.equal(clicks.time, back.time)
    assert {node: data[node].num_nodes for node in data.node_types} == graph.n_nodes


def test_features_are_the_dense_fields(graph: mg.RecGraph) -> None:
    data = graph.to_hetero()
    fields = graph.item_fields
    assert torch.equal(data["item"].x, torch.cat([fields["year"].values, fields["embedding"].values], 1))
    assert torch.equal(data["user"].x, graph.user_fields["age"].values)
    assert "x" not in data["session"]


def test_chosen_relations(graph: mg.RecGraph) -> None:
    data = graph.to_hetero(["clicks"], reverse=False)
    assert data.edge_types == [("user", "clicks", "item")] and set(data.node_types) == {"user", "item"}
    assert data.validate()
    with pytest.raises(mg.ConfigError):
        graph.to_hetero(["likes"])


def convolve(graph: mg.RecGraph, data: HeteroData) -> dict[str, torch.Tensor]:
    """One GraphSAGE layer whose inputs are all nodes' numbers."""
    layer = HeteroConv({kind: SAGEConv((1, 1), 1, bias=False) for kind in data.edge_types}, aggr="sum")
    for parameter in layer.parameters():
        torch.nn.init.ones_(parameter)
    x = {
        node: data[node].n_id[:, None].float() if "n_id" in data[node] else number(graph, node)
        for node in data.node_types
    }
    return layer(x, data.edge_index_dict)


def number(graph: mg.RecGraph, node: str) -> torch.Tensor:
    return torch.arange(graph.n_nodes[node])[:, None].float()


def test_neighbor_loader(graph: mg.RecGraph) -> None:
    """With fan-outs above every degree, a mini-batch gives its seeds what the whole graph gives them."""
    pytest.importorskip("torch_sparse", reason="NeighborLoader needs torch-sparse (the extra sparse) or pyg-lib")
    from torch_geometric.loader import NeighborLoader

    data = graph.to_hetero(["clicks", "co_occurs", "similar"])
    whole = convolve(graph, data)["item"]
    seen = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it recommends pyg-lib
        loader = NeighborLoader(data, num_neighbors=[10_000], batch_size=16, input_nodes="item")
    for batch in loader:
        seeds = batch["item"].n_id[: batch["item"].batch_size]
        torch.testing.assert_close(convolve(graph, batch)["item"][: len(seeds)], whole[seeds])
        assert torch.equal(batch["item"].x, data["item"].x[batch["item"].n_id])
        seen += len(seeds)
    assert seen == graph.n_items
