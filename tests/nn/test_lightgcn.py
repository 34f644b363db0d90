"""LightGCN against dense matrices: the published layers, in batches, under autocast, by torch-sparse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from micgraph.nn import gnn
from micgraph.sampling.context import ContextMaker
from micgraph.schema import ConfigError, MissingExtraError
from tests.nn.small_towers import GRAPH, ROWS, bound, edges, some_items, towers
from tests.toy import toy_graph


def dense_lightgcn(items: Tensor, users: Tensor, layers: int) -> tuple[Tensor, Tensor]:
    """He et al. 2020, Eqs. 3-4 with alpha = 1 / (L + 1), by loops over the clicks."""
    clicks = edges("clicks")
    n_user = [max(sum(u == v for v, _ in clicks), 1) for u in range(len(users))]
    n_item = [max(sum(i == j for _, j in clicks), 1) for i in range(len(items))]
    all_items, all_users = [items], [users]
    for _ in range(layers):
        next_items, next_users = torch.zeros_like(items), torch.zeros_like(users)
        for u, i in clicks:
            norm = 1 / math.sqrt(n_user[u] * n_item[i])
            next_items[i] += norm * all_users[-1][u]
            next_users[u] += norm * all_items[-1][i]
        all_items.append(next_items)
        all_users.append(next_users)
    return torch.stack(all_items).mean(0), torch.stack(all_users).mean(0)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("user_fields", [("user_id", "age"), ()])
def test_lightgcn_is_the_published_one_for_items_and_for_users_with_their_whole_history(
    layers: int, user_fields: tuple[str, ...]
) -> None:
    options = {"graph_options": {"layers": layers}, "user_fields": user_fields}
    model = towers(encoder="lightgcn", item_graph="lightgcn", **options)
    with torch.no_grad():
        own = model.item_fields(GRAPH.item_fields).sum(1)
        users = torch.zeros(GRAPH.n_users, 8)
        if user_fields:
            users = model.user_fields({name: GRAPH.user_fields[name] for name in user_fields}).sum(1)
        items, people = dense_lightgcn(own, users, layers)
    exported = bound(model)
    torch.testing.assert_close(exported.item_vectors()[1], items)
    history = torch.full((GRAPH.n_users, 12), -1)
    for user, row in enumerate(ROWS):
        history[user, : len(row)] = torch.tensor([item for _, item in row], dtype=torch.int64)
    _, own_queries = exported.encode_queries(history, history >= 0, torch.arange(GRAPH.n_users))
    torch.testing.assert_close(own_queries, people)


def test_lightgcns_items_of_a_batch_are_those_of_all() -> None:
    model = towers(encoder="lightgcn", item_graph="lightgcn", user_fields=("user_id",))
    with torch.no_grad():
        found, _ = some_items(model, [5, 0, 7])
    torch.testing.assert_close(found, bound(model).item_vectors()[1][[5, 0, 7]])


def test_both_halves_of_lightgcn_have_the_layers_of_the_items() -> None:
    for options, layers in (({}, gnn.LAYERS), ({"layers": 2}, 2)):
        model = towers(encoder="lightgcn", item_graph="lightgcn", graph_options=options)
        assert model.encoder.layers == model.reader.graph.layers == layers
    with pytest.raises(ConfigError, match="model.options.layers.*graph_options"):
        towers(encoder="lightgcn", item_graph="lightgcn", options={"layers": 2})


def test_lightgcn_under_autocast_is_the_same_and_counts_every_click() -> None:
    """300 users of one item: 300 is no bfloat16 number, and its root would be off by half a percent."""
    rows = [[(0, 0), (1, 1 + u % 2)] for u in range(300)]
    graph = toy_graph(rows, 3)
    fields = {"user_fields": ("user_id",), "item_fields": ("item_id",)}  # which no product in bfloat16 rounds
    model = towers(graph, encoder="lightgcn", item_graph="lightgcn", **fields)
    maker = ContextMaker(graph, model.reads)
    limit = torch.full((300,), 9, dtype=torch.int32)
    limit[:40] = 0  # what is withheld of some
    for context in (maker.everything(), maker.around(torch.arange(3), 0, limit)):
        plain = model.items(graph.item_fields, context=context)
        with torch.autocast("cpu", torch.bfloat16):
            low = model.items(graph.item_fields, context=context)
        low.vectors.sum().backward()
        assert low.vectors.dtype == low.messages.dtype == torch.float32
        torch.testing.assert_close(low.messages, plain.messages)


def test_lightgcn_is_the_same_by_torch_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    def vectors(backend: str) -> Tensor:
        options = {"graph_options": {"backend": backend}, "user_fields": ("user_id",)}
        return bound(towers(encoder="lightgcn", item_graph="lightgcn", **options)).item_vectors()[1]

    monkeypatch.setattr("micgraph.graph.product.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="model.graph_options.backend"):
        vectors("torch_sparse")
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="model.graph_options.backend"):
        vectors("numpy")
    pytest.importorskip("torch_sparse")
    torch.testing.assert_close(vectors("torch_sparse"), vectors("torch"))
