"""KHopSampler behind PyG's loaders: edges are the graph's, times bound them, and neighbours are as likely as in PyG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch_geometric.loader import LinkLoader, NeighborLoader, NodeLoader

from micgraph.graph.recgraph import RecGraph
from micgraph.sampling.pyg import KHopSampler
from micgraph.schema import ConfigError, InputError
from tests.toy import random_rows, toy_graph, with_sessions

CLICKS, CLICKED, TOGETHER = ("user", "clicks", "item"), ("item", "rev_clicks", "user"), ("item", "co_occurs", "item")
KINDS = (CLICKS, CLICKED, TOGETHER)


def make() -> RecGraph:
    rows = random_rows(40, 14, 12)
    return with_sessions(toy_graph(rows, 14), rows)


def batches(graph: RecGraph, **more: Any) -> Iterator[Any]:
    data, sampler = graph.to_hetero(["clicks", "co_occurs"]), KHopSampler(graph, dict.fromkeys(KINDS, [3, 2]))
    return iter(NodeLoader(data, sampler, input_nodes=("user", torch.arange(40)), batch_size=8, **more))


def test_batches_hold_edges_of_the_graph_with_what_the_graph_says_of_them() -> None:
    graph = make()
    data = graph.to_hetero(["clicks", "co_occurs"])
    for batch in batches(graph):
        for kind in KINDS:
            store, whole = batch[kind], data[kind]
            source, target = (
                batch[node].n_id[end] for node, end in zip((kind[0], kind[2]), store.edge_index, strict=True)
            )
            assert torch.equal(torch.stack([source, target]), whole.edge_index[:, store.e_id])
            name = "count" if kind == TOGETHER else "time"
            assert torch.equal(store[name], whole[name][store.e_id]) and len(source)


def test_seeds_with_times_hear_nothing_from_then_on() -> None:
    graph = make()
    data, sampler = graph.to_hetero(["clicks"]), KHopSampler(graph, dict.fromkeys(KINDS[:2], [5, 5]))
    until = torch.arange(40) % 30
    loader = NodeLoader(data, sampler, input_nodes=("user", torch.arange(40)), input_time=until, batch_size=10)
    found = 0
    for batch in loader:
        for kind in KINDS[:2]:
            tree = batch[kind[2]].batch[batch[kind].edge_index[1]]
            assert (batch[kind].time < batch["user"].seed_time[tree]).all()
            found += len(tree)
    assert found


@pytest.mark.parametrize("timed", [False, True])
def test_links_find_both_their_ends(timed: bool) -> None:
    graph = make()
    data, sampler = graph.to_hetero(["clicks"]), KHopSampler(graph, dict.fromkeys(KINDS[:2], [5, 5]))
    links, when = data[CLICKS].edge_index, data[CLICKS].time
    more = {"edge_label_time": when} if timed else {}
    loader = LinkLoader(data, sampler, edge_label_index=(CLICKS, links), batch_size=16, neg_sampling="binary", **more)
    for step, batch in enumerate(loader):
        ends = batch[CLICKS].edge_label_index
        met = torch.stack([batch["user"].n_id[ends[0]], batch["item"].n_id[ends[1]]])
        own = links[:, step * 16 : (step + 1) * 16]
        assert torch.equal(met[:, : own.shape[1]], own)
        assert batch[CLICKS].edge_label.tolist() == [1.0] * own.shape[1] + [0.0] * own.shape[1]
        if timed:
            latest = when[step * 16 : (step + 1) * 16].max()
            assert all((batch[kind].time < latest).all() for kind in KINDS[:2])


def test_seeds_of_torchs_generator_decide() -> None:
    def ids(seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        return [batch[TOGETHER].e_id.tolist() for batch in batches(make())]

    assert ids(1) == ids(1) != ids(2)


def test_neighbours_are_as_likely_as_in_pyg() -> None:
    """Compared with PyG's draws with replacement: those without it are not uniform in torch-sparse, later neighbours
    come more often (chi-square 1,729 where 188 was due)."""
    pytest.importorskip("torch_sparse", reason="PyG's NeighborLoader needs torch-sparse")
    graph, rounds = make(), 400
    data, sizes = graph.to_hetero(["clicks"]), dict.fromkeys(KINDS[:2], [2])
    users: Any = {"input_nodes": ("user", torch.arange(40)), "batch_size": 40}
    loaders = (NodeLoader(data, KHopSampler(graph, sizes), **users), NeighborLoader(data, sizes, replace=True, **users))
    torch.manual_seed(0)
    user = data[CLICKED].edge_index[1]
    ours, theirs = torch.zeros(2, len(user))
    for seen, loader in zip((ours, theirs), loaders, strict=True):
        for _ in range(rounds):
            seen += torch.bincount(next(iter(loader))[CLICKED].e_id, minlength=len(user))
    degree = torch.bincount(user)[user]
    assert (ours[degree <= 2] == rounds).all()
    drawn = degree > 2
    chi = float(((ours - theirs) ** 2 / (ours + theirs))[drawn].sum())
    # an edge has 2 / degree draws a round either way; variances 2 / d (1 - 2 / d) and 2 / d (1 - 1 / d)
    expected = float((1 - 1.5 / degree[drawn]).sum())
    assert abs(chi - expected) < 4 * (2 * expected) ** 0.5


def test_an_edge_type_that_is_not_the_graphs_is_refused() -> None:
    for kind in (("item", "clicks", "user"), ("user", "buys", "item")):
        with pytest.raises(ConfigError, match="to_hetero"):
            KHopSampler(make(), {kind: [2]})


def test_pygs_word_for_all_neighbours_is_refused() -> None:
    with pytest.raises(ConfigError, match="fanouts: expected at least 0, got"):
        KHopSampler(make(), {CLICKED: [-1]})


def test_seeds_that_no_edge_type_brings_anything_are_refused() -> None:
    graph = make()
    loader = NodeLoader(graph.to_hetero(["clicks"]), KHopSampler(graph, {CLICKS: [3]}), input_nodes="user")
    with pytest.raises(InputError, match=r"fanouts: .*for seeds \['user'\]; add one such as .*rev_clicks"):
        next(iter(loader))
