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


def convolve(data: HeteroData, index: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One GraphSAGE layer whose inputs are the nodes' numbers ``index``."""
    layer = HeteroConv({kind: SAGEConv((1, 1), 1, bias=False) for kind in data.edge_types}, aggr="sum")
    for parameter in layer.parameters():
        torch.nn.init.ones_(parameter)
    return layer({node: index[node][:, None].float() for node in data.node_types}, data.edge_index_dict)


def test_random_node_loader(graph: mg.RecGraph) -> None:
    """A loader of plain torch: the parts hold every node once, and just the edges between their own nodes."""
    from torch_geometric.loader import RandomNodeLoader

    data, seen = graph.to_hetero(), {node: [] for node in graph.n_nodes}
    for node in data.node_types:
        data[node].number = torch.arange(graph.n_nodes[node])
    for part in RandomNodeLoader(data, num_parts=3, shuffle=True):
        assert part.validate()
        number = {node: part[node].number for node in part.node_types}
        for node, own in number.items():
            seen[node] += own.tolist()
        for kind in data.edge_types:
            source, _, target = kind
            found = torch.stack([number[source][part[kind].edge_index[0]], number[target][part[kind].edge_index[1]]])
            whole = data[kind].edge_index
            inside = torch.isin(whole[0], number[source]) & torch.isin(whole[1], number[target])
            assert sorted(found.T.tolist()) == sorted(whole[:, inside].T.tolist())
            for name in {"time", "count", "score"} & set(data[kind].keys()):
                assert sorted(part[kind][name].tolist()) == sorted(data[kind][name][inside].tolist())
        assert torch.equal(part["item"].x, data["item"].x[number["item"]])
        assert all(vectors.isfinite().all() for vectors in convolve(part, number).values())
    assert {node: sorted(numbers) for node, numbers in seen.items()} == {
        node: list(range(count)) for node, count in graph.n_nodes.items()
    }


def test_neighbor_loader(graph: mg.RecGraph) -> None:
    """With fan-outs above every degree, a mini-batch gives its seeds what the whole graph gives them."""
    pytest.importorskip("torch_sparse", reason="NeighborLoader needs torch-sparse (the extra sparse) or pyg-lib")
    from torch_geometric.loader import NeighborLoader

    data = graph.to_hetero(["clicks", "co_occurs", "similar"])
    whole = convolve(data, {node: torch.arange(count) for node, count in graph.n_nodes.items()})["item"]
    seen = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it recommends pyg-lib
        loader = NeighborLoader(data, num_neighbors=[10_000], batch_size=16, input_nodes="item")
    for batch in loader:
        seeds = batch["item"].n_id[: batch["item"].batch_size]
        index = {node: batch[node].n_id for node in batch.node_types}
        torch.testing.assert_close(convolve(batch, index)["item"][: len(seeds)], whole[seeds])
        assert torch.equal(batch["item"].x, data["item"].x[batch["item"].n_id])
        seen += len(seeds)
    assert seen == graph.n_items
