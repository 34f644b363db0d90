"""GraphSAGE and the latest users against loops: means of neighbours, views, new items, refused settings."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from micgraph.graph.fields import Field, take
from micgraph.graph.recgraph import RecGraph
from micgraph.nn import gnn
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import TwoTower
from micgraph.sampling.context import ContextMaker
from micgraph.schema import ConfigError, InputError
from tests.nn.small_towers import GRAPH, N_ITEMS, ROWS, bound, edges, some_items, towers
from tests.toy import toy_graph, weighted

RELATIONS = ["clicks", "contains", "similar", "co_occurs"]


@pytest.mark.parametrize("encoder", ["lightgcn", "graphsage"])
@pytest.mark.parametrize("item_graph", [None, "lightgcn", "graphsage"])
def test_encoders_named_after_an_item_graph_come_with_it(encoder: str, item_graph: str | None) -> None:
    if encoder == item_graph:
        assert towers(encoder=encoder, item_graph=item_graph).reads is not None
    else:
        with pytest.raises(ConfigError, match="item_graph"):
            towers(encoder=encoder, item_graph=item_graph)


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
