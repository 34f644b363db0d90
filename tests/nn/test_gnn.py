"""GraphSAGE, LightGCN and latest users against loops over the graph's edges, and what they give to new items."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from micgraph.graph.context import ItemContext
from micgraph.graph.fields import Field, take
from micgraph.graph.recgraph import RecGraph
from micgraph.nn import gnn
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.context import ContextMaker, surroundings
from micgraph.schema import ConfigError, InputError, MissingExtraError
from tests.toy import random_rows, toy_graph, weighted, with_sessions

N_ITEMS = 9
ROWS = random_rows(7, N_ITEMS)
GRAPH = with_sessions(toy_graph(ROWS, N_ITEMS), ROWS)
RELATIONS = ["clicks", "contains", "similar", "co_occurs"]


def towers(graph: RecGraph = GRAPH, **config) -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(ModelConfig(**{"dim": 8, "history": 12, **config}), graph.item_fields, graph.user_fields).eval()


def bound(model: TwoTower, graph: RecGraph = GRAPH) -> BoundModel:
    return BoundModel(model, graph.item_fields, graph.user_fields, surroundings(graph))


def some_items(model: TwoTower, items: list[int], key: int = 3) -> tuple[Tensor, ItemContext]:
    assert model.reads is not None
    context = ContextMaker(GRAPH, model.reads).around(torch.tensor(items), key)
    return model.items(take(GRAPH.item_fields, torch.tensor(items)), context=context).vectors[:-1], context


def edges(name: str) -> list[tuple[int, int]]:
    rel = GRAPH.relation(name)
    return list(zip(rel.row_index().tolist(), rel.col.tolist(), strict=True))


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


@pytest.mark.parametrize("encoder", ["lightgcn", "graphsage"])
@pytest.mark.parametrize("item_graph", [None, "lightgcn", "graphsage"])
def test_encoders_named_after_an_item_graph_come_with_it(encoder: str, item_graph: str | None) -> None:
    if encoder == item_graph:
        assert towers(encoder=encoder, item_graph=item_graph).reads is not None
    else:
        with pytest.raises(ConfigError, match="item_graph"):
            towers(encoder=encoder, item_graph=item_graph)


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


def looped_sage(model: TwoTower) -> Tensor:
    """Every node of the graph in every layer, by loops over its edges: float [N, d]."""
    reader = model.reader
    sage = reader.graph
    x = {
        "item": model.item_encoder(model.item_fields(GRAPH.item_fields)),
        "user": sage.user(reader.people(GRAPH.user_fields).flatten(1)),
        "session": torch.zeros(GRAPH.n_sessions, 8),
    }
    first = x["item"]
    both = {"clicks": ("user", "item", "rev_clicks"), "contains": ("session", "item", "rev_contains")}
    for n, layer in enumerate(sage.layers):
        out = {node: layer.own[node](values) for node, values in x.items() if node in layer.own}
        for name in sage.relations:
            lists: dict[tuple[str, str, str], dict[int, list[int]]] = {}
            for a, b in edges(name):
                if name in both:
                    source, target, back = both[name]
                    lists.setdefault((source, name, target), {}).setdefault(b, []).append(a)
                    lists.setdefault((target, back, source), {}).setdefault(a, []).append(b)
                else:
                    lists.setdefault(("item", name, "item"), {}).setdefault(a, []).append(b)
            for (source, message, target), heard in lists.items():
                for node, senders in heard.items():
                    mean = sum(x[source][s] for s in senders) / len(senders)
                    extra = torch.zeros_like(out[target])
                    extra[node] = layer.convs[message].lin_l(mean)
                    out[target] = out[target] + extra
        x = out if n == len(sage.layers) - 1 else {node: values.relu() for node, values in out.items()}
    return first + x["item"]


@pytest.mark.parametrize("relations", [RELATIONS[:3], ["similar"], ["contains"]])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_graphsage_is_the_mean_of_every_nodes_neighbours(
    relations: list[str], layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fanouts that take all neighbours: every item at once, in slices or not, and some items by their hops."""
    options = {"relations": relations, "fanouts": [50] * layers}
    model = towers(encoder="graphsage", item_graph="graphsage", graph_options=options)
    with torch.no_grad():
        want = looped_sage(model)
        found, _ = some_items(model, [4, 1, 8])
    torch.testing.assert_close(bound(model).item_vectors()[1], want)
    torch.testing.assert_close(found, want[[4, 1, 8]])
    monkeypatch.setattr(gnn, "SLICE", 2)
    torch.testing.assert_close(bound(model).item_vectors()[1], want)


def test_a_relation_that_holds_what_is_predicted_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for relations, warned in ((["contains", "similar"], False), (["co_occurs"], True)):
        towers(encoder="graphsage", item_graph="graphsage", graph_options={"relations": relations})
        assert ("co_occurs" in caplog.text and "contains" in caplog.text) == warned


def test_an_item_without_neighbours_is_encoded_as_one_that_nobody_asked_the_graph_about() -> None:
    model = towers(encoder="graphsage", item_graph="graphsage", graph_options={"relations": ["similar"]})
    alone = [i for i in range(N_ITEMS) if not any(i == a for a, _ in edges("similar"))]
    assert alone
    with torch.no_grad():
        plain = model.items(GRAPH.item_fields).vectors
    torch.testing.assert_close(bound(model).item_vectors()[1][alone], plain[alone])


def test_the_mean_of_the_latest_users_is_one_more_field() -> None:
    model = towers(encoder="mic_dnn", latest_users=3, user_fields=())
    people = model.reader.people(GRAPH.user_fields)
    got = bound(model).item_vectors()[1]
    with torch.no_grad():
        own = model.item_fields(GRAPH.item_fields).sum(1)
    for item in range(N_ITEMS):
        times = {u: max(t for t, i in row if i == item) for u, row in enumerate(ROWS) if item in [i for _, i in row]}
        clicks = sorted((t, u) for u, t in times.items())[-3:]
        latest = sum(people[u].sum(0) for _, u in clicks) / max(len(clicks), 1)
        torch.testing.assert_close(got[item], (own[item] + latest).detach())


def test_latest_users_of_neighbours_are_read_too() -> None:
    config = {"encoder": "mic_dnn", "latest_users": 2, "item_graph": "graphsage"}
    model = towers(**config, graph_options={"relations": RELATIONS[:3], "fanouts": [50, 50]})
    with torch.no_grad():
        found, context = some_items(model, [2, 6])
    assert len(context.audience.mask) > 2
    torch.testing.assert_close(found, bound(model).item_vectors()[1][[2, 6]])


def test_masked_users_and_messages_change_the_view() -> None:
    for config in ({"latest_users": 3}, {"item_graph": "graphsage"}, {"item_graph": "lightgcn"}):
        model = towers(encoder="mic_dnn", user_fields=("user_id",), **config)
        with torch.no_grad():
            clean, context = some_items(model, [0, 1, 2, 3])
            fields = take(GRAPH.item_fields, torch.arange(4))
            half, nothing, all_of_it = (
                model.items(fields, context=context.masked(1, rate)).vectors[:-1] for rate in (0.5, 1.0, 0.0)
            )
            bare = model.items(fields).vectors[:-1]
        torch.testing.assert_close(all_of_it, clean)
        torch.testing.assert_close(nothing, bare)
        assert not torch.allclose(half, clean) and not torch.allclose(half, bare)


def two_clusters() -> RecGraph:
    """Items 0-4 and 5-9 are clicked by other people; 10 and 11 by nobody, and are similar to one side each."""
    rows = [[(t, (u % 2) * 5 + (t + u) % 5) for t in range(5)] for u in range(12)]
    graph = toy_graph(rows, 12)
    sides = [*[0] * 5, *[1] * 5, 0, 1]
    alike = {(a, b): 1 for a in range(12) for b in range(10) if a != b and sides[a] == sides[b]}
    code = torch.where(torch.arange(12) < 10, torch.arange(12) + 1, 0).to(torch.int32)  # the new ones have no id
    return replace(
        graph,
        relations={**graph.relations, "similar": weighted(alike, 12, score=True)},
        item_fields={"item_id": Field("item_id", "categorical", 13, code)},
    )


def test_a_new_item_lies_near_what_it_is_similar_to() -> None:
    graph = two_clusters()
    options = {"relations": ["clicks", "similar"], "fanouts": [4, 3]}
    model = towers(graph, encoder="graphsage", item_graph="graphsage", graph_options=options, item_fields=("item_id",))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    maker = ContextMaker(graph, model.reads)
    history = torch.tensor([[0, 1, 2], [5, 6, 7], [2, 3, 4], [7, 8, 9]])
    target = torch.tensor([3, 8, 0, 5])
    for step in range(40):
        context = maker.around(torch.arange(10), step)
        items = model.train().items(take(graph.item_fields, torch.arange(10)), context=context)
        user = take(graph.user_fields, torch.tensor([0, 1, 2, 3]))
        queries = model.encoder(model.query_input(items, history, torch.ones_like(history).bool(), user))
        loss = F.cross_entropy(model.search_queries(queries) @ model.search_items(items)[:10].T, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1.7
    vectors = F.normalize(bound(model.eval(), graph).item_vectors()[1], dim=1)
    near = vectors @ vectors.T
    for new, own, other in ((10, slice(0, 5), slice(5, 10)), (11, slice(5, 10), slice(0, 5))):
        assert near[new, own].mean() > near[new, other].mean() + 0.1


def test_towers_that_read_the_graph_are_not_bound_without_it() -> None:
    model = towers(encoder="graphsage", item_graph="graphsage")
    with pytest.raises(InputError, match="surroundings"):
        BoundModel(model, GRAPH.item_fields, GRAPH.user_fields)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("graphsage", {"relations": []}),
        ("graphsage", {"relations": ["has"]}),
        ("graphsage", {"fanouts": []}),
        ("graphsage", {"fanouts": [3, 0]}),
        ("graphsage", {"layers": [2]}),
        ("lightgcn", {"layers": 0}),
        ("lightgcn", {"fanouts": 2}),
        ("pinsage", {}),
        (None, {"layers": 2}),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str | None, options: dict) -> None:
    with pytest.raises(ConfigError, match="graph"):
        towers(encoder="mic_dnn", item_graph=name, graph_options=options)
