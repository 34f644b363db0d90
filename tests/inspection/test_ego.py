"""One user or item: fields, edges, neighbours and the ego graph, by loops over the log."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import micgraph as mg
from micgraph.inspection import ego
from micgraph.inspection.ego import Ego, Listing, ego_of
from micgraph.schema import InputError, UnknownIdError


@pytest.fixture(scope="module")
def log() -> Any:
    """The clicks as a frame, once each second."""
    rows = [("u1", 10, 0), ("u1", 20, 60), ("u1", 10, 9_000), ("u2", 20, 30), ("u2", 30, 90), ("u2", 40, 95)]
    rows += [("u3", 10, 100), ("u3", 20, 130), ("u3", 50, 140), ("u4", 50, 10), ("u4", 20, 20_000)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


@pytest.fixture(scope="module")
def graph(log: Any) -> mg.RecGraph:
    items = pa.table(
        {
            "item_id": [10, 20, 30, 40],
            "title": ["a $film$ of\n<two> words", "b film", "c", None],
            "category": ["x", "x", None, "y"],
            "tags": [["t", "s"], [], ["t"], None],
            "year": [1990.0, 2000.0, 2010.0, None],
            "embedding": [[3.0, 4.0], [3.0, 4.5], [0.0, 1.0], [1.0, 0.0]],
        }
    )
    users = pa.table({"user_id": ["u1"], "country": ["fr"]})
    clicks = mg.read_log(log.assign(timestamp=log.timestamp + 1_700_000_000), items=items, users=users)
    return mg.build(clicks, {"semantic": ["embedding"], "semantic_k": 2})


def _listing(found: Ego, title: str) -> Listing:
    (one,) = [listing for listing in found.listings if listing.title == title]
    return one


def test_a_users_clicks_and_sessions(graph: mg.RecGraph) -> None:
    found = ego_of(graph, user="u1")
    assert (found.name, found.fields) == ("u1", (("country", "categorical", "fr"),))
    assert found.edges == (("clicks", 3, 0), ("has", 2, 0))
    clicks = _listing(found, "clicked item")
    assert clicks.rows == (
        ("10", "a $film$ of <two> words", "2", "2023-11-15 00:43:20"),
        ("20", "b film", "1", "2023-11-14 22:14:20"),
    )
    sessions = _listing(found, "session's first click")
    assert [row[1:] for row in sessions.rows] == [("1", "0"), ("2", "60")]


def test_users_with_the_same_items(graph: mg.RecGraph, log: Any) -> None:
    baskets = {user: set(group) for user, group in log.groupby("user_id").item_id}
    for user, mine in baskets.items():
        shared = {other: len(mine & theirs) for other, theirs in baskets.items() if other != user and mine & theirs}
        found = _listing(ego_of(graph, user=user), "user with the same items")
        assert list(found.rows) == [
            (o, str(n)) for o, n in sorted(shared.items(), key=lambda pair: (-pair[1], pair[0]))
        ]


def test_an_items_fields_and_edges(graph: mg.RecGraph) -> None:
    found = ego_of(graph, item=10)
    assert found.name == "10 (a $film$ of <two> words)"
    assert {name: value for name, _, value in found.fields} == {
        "category": "x",
        "tags": "t, s",
        "year": "1990",
        "embedding": "2 numbers of norm 5.000",
    }
    values = {name: value for name, _, value in ego_of(graph, item=40).fields}
    assert (values["tags"], values["year"]) == ("none", "2000 (the mean, or missing)")
    assert {name: value for name, _, value in ego_of(graph, item=30).fields}["category"] == "unknown"
    clicks = _listing(found, "click by user")
    assert [row[0] for row in clicks.rows] == ["u1", "u3", "u1"], "the latest first"
    edges = {name: (begins, ends) for name, begins, ends in found.edges}
    assert edges["clicks"] == edges["contains"] == (0, 3)


def test_an_items_neighbours_by_weight(graph: mg.RecGraph) -> None:
    together: Counter[tuple[int, int]] = Counter()
    for session in ([10, 20], [10], [20, 30, 40], [10, 20, 50], [50], [20]):
        together.update((a, b) for a in session for b in session if a != b)
    for item in (10, 20, 30, 40, 50):
        wanted = sorted(((b, n) for (a, b), n in together.items() if a == item), key=lambda pair: (-pair[1], pair[0]))
        rows = _listing(ego_of(graph, item=item), "co_occurs item").rows
        assert [(int(row[0]), int(row[2])) for row in rows] == wanted
    similar = _listing(ego_of(graph, item=30), "similar item")
    cosine = (4.5 / (9 + 4.5**2) ** 0.5, 0.8)
    assert [row[0] for row in similar.rows] == ["20", "10"]
    assert [float(row[2]) for row in similar.rows] == pytest.approx(cosine, abs=1e-3)
    assert similar.heads == ("title", "similarity by embedding", "sessions together")
    assert [row[3] for row in similar.rows] == ["1", "-"], "30 was clicked together with 20 and never with 10"
    rows = _listing(ego_of(graph, item=30), "co_occurs item").rows
    assert [(row[0], row[3]) for row in rows] == [("20", similar.rows[0][2]), ("40", "-")]


@pytest.mark.parametrize(
    ("semantic", "head"),
    [("auto", "similarity by embedding, title, tags"), ({"title": 3, "tags": 1}, "weight by title, tags")],
)
def test_the_sources_of_similarity_are_named(log: Any, semantic: Any, head: str) -> None:
    items = pa.table({"item_id": [10, 20], "title": ["a b", "a c"], "tags": [["t"], ["t"]], "category": ["x", "x"]})
    if semantic == "auto":
        items = items.append_column("embedding", pa.array([[1.0, 0.0], [1.0, 1.0]]))
    graph = mg.build(
        mg.read_log(log.assign(timestamp=log.timestamp + 1_700_000_000), items=items), {"semantic": semantic}
    )
    similar = _listing(ego_of(graph, item=10), "similar item")
    assert similar.heads[1] == head and [row[0] for row in similar.rows] == ["20"]


def test_the_ego_graph_has_every_edge_between_its_nodes(graph: mg.RecGraph, log: Any) -> None:
    found = ego_of(graph, item=20)
    network = found.network()
    names = {node: graph.items.ids([node[1]])[0].as_py() for node in network if node[0] == "item"}  # type: ignore[union-attr]
    names |= {node: graph.users.ids([node[1]])[0].as_py() for node in network if node[0] == "user"}  # type: ignore[union-attr]
    assert set(names.values()) == {10, 20, 30, 40, 50, "u1", "u2", "u3", "u4"}
    drawn = {
        (*sorted((str(names[a]), str(names[b]))), data["relation"]): data["weight"]
        for a, b, data in network.edges(data=True)
    }
    clicks = Counter((str(item), user, "clicks") for user, item in zip(log.user_id, log.item_id, strict=True))
    assert {key: n for key, n in drawn.items() if key[2] == "clicks"} == clicks
    assert drawn["10", "20", "co_occurs"] == 2 and drawn["30", "40", "co_occurs"] == 1
    assert sum(key[2] == "co_occurs" for key in drawn) == 6
    vectors = {10: (3.0, 4.0), 20: (3.0, 4.5), 30: (0.0, 1.0), 40: (1.0, 0.0)}
    cosine = {
        (a, b): (v[0] * w[0] + v[1] * w[1]) / (math.hypot(*v) * math.hypot(*w))
        for a, v in vectors.items()
        for b, w in vectors.items()
    }
    near = {a: sorted(vectors.keys() - {a}, key=lambda b: -cosine[a, b])[:2] for a in vectors}
    wanted = {(*sorted((str(a), str(b))), "similar"): cosine[a, b] for a in near for b in near[a]}
    assert {key: n for key, n in drawn.items() if key[2] == "similar"} == pytest.approx(wanted, abs=1e-3)
    assert network.nodes["user", 0] == {"kind": "user", "label": "u1"}


def test_what_is_cut_is_counted(graph: mg.RecGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ego, "LISTED", 1)
    monkeypatch.setattr(ego, "DRAWN", {"user": 1, "clicks": 1, "co_occurs": 1, "similar": 1})
    found = ego_of(graph, item=20)
    assert {listing.title: (len(listing.rows), listing.total) for listing in found.listings} == {
        "click by user": (1, 4),
        "co_occurs item": (1, 4),
        "similar item": (1, 2),
    }
    assert len(found.names) == 3, "itself, 10 (near in both relations), one user"


def test_unknown_ids_and_both_at_once(graph: mg.RecGraph) -> None:
    with pytest.raises(UnknownIdError, match=r"^user: .*'u1'.*got 'nobody'; take an id of graph.users.values"):
        ego_of(graph, user="nobody")
    with pytest.raises(UnknownIdError, match=r"^item: .*got 11; .*keep_unclicked"):
        ego_of(graph, item=11)
    with pytest.raises(UnknownIdError, match="the text 'x'"):
        ego_of(graph, item="x")
    with pytest.raises(InputError, match="^user, item: expected one of the two, got both"):
        ego_of(graph, user="u1", item=10)
