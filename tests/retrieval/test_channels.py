"""Each channel against loops written from MIC 2.2, 2.8 and 2.9."""

from __future__ import annotations

import math

import pytest
import torch

from micgraph.knn import NeighborTable, Ragged, VectorIndex, neighbors
from micgraph.retrieval.channels import I2I, U2I, U2U, Allowed, Queries, pair_scores
from micgraph.retrieval.histories import latest
from micgraph.retrieval.neighbor_tables import strongest
from micgraph.retrieval.retriever import Retriever


def ragged(lists):
    flat = torch.tensor([i for x in lists for i in x], dtype=torch.int64)
    return Ragged(torch.tensor([0] + [len(x) for x in lists]).cumsum(0), flat)


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def cosine(a, b):
    norm = math.sqrt(dot(a, a) * dot(b, b))
    return dot(a, b) / norm if norm else 0.0


def rows(found):
    """Per user the list of (item, weight, trigger) in order."""
    return [
        [(int(i), float(w), int(t)) for i, w, t, m in zip(*line, strict=True) if m]
        for line in zip(found.items, found.weight, found.trigger, found.mask, strict=True)
    ]


def queries_of(world, histories, users=None, exclude=None):
    retriever = Retriever(world.model, world.graph, world.fusion)
    users = torch.full((len(histories),), -1) if users is None else torch.tensor(users)
    return next(retriever.encode(ragged(histories), users, exclude=None if exclude is None else ragged(exclude)))


@pytest.mark.parametrize("metric", ["ip", "cosine"])
@pytest.mark.parametrize("interests", [1, 2])
def test_u2i_is_the_nearest_items(world, metric, interests):
    w = world(3, metric=metric, interests=interests)
    histories, exclude, among = [[1, 2], [5], [7, 8, 9, 10, 11]], [[1, 2], [], [7]], [0, 3, 4, 7, 9, 12, 20]
    q = queries_of(w, histories, exclude=exclude)
    index = VectorIndex(w.model.search, metric)
    found = rows(U2I(index, 6).find(q, Allowed.of(index, torch.tensor(among))))
    score = dot if metric == "ip" else cosine
    for b, left_out in enumerate(exclude):
        vectors = q.search[b].reshape(-1, 4).tolist()
        best = {i: max(score(v, w.model.search[i].tolist()) for v in vectors) for i in among if i not in left_out}
        expected = sorted(best, key=lambda i: (-round(best[i], 5), i))[:6]
        assert [item for item, _, _ in found[b]] == expected
        assert [weight for _, weight, _ in found[b]] == pytest.approx([best[i] for i in expected], abs=1e-5)
        assert all(trigger == -1 for _, _, trigger in found[b])


@pytest.mark.parametrize("seed", range(6))
def test_u2u_is_the_latest_clicks_of_similar_users(world, seed):
    w = world(seed)
    histories, users, exclude = [w.clicks[4], [3, -1, 6], []], [4, -1, -1], [[], [3, 6, 8], []]
    q = queries_of(w, histories, users, exclude)
    retriever = Retriever(w.model, w.graph, w.fusion)
    allowed = retriever.allow(torch.tensor([i for i in range(25) if i not in (2, 9)]))
    found = rows(U2U(retriever.users, w.graph.relation("clicks"), 3, 4).find(q, allowed))
    own = [[sum(w.model.own[i][d].item() for i in clicks[-4:]) for d in range(4)] for clicks in w.clicks]
    for b, user in enumerate(users):
        alike = [(u, cosine(q.own[b].tolist(), own[u])) for u in range(12) if u != user]
        alike.sort(key=lambda pair: (-round(pair[1], 6), pair[0]))
        if user < 0 and not any(item >= 0 for item in histories[b]):
            alike = []  # nobody is similar to one of whom nothing is known
        expected = [
            (item, similarity, u)
            for u, similarity in alike[:3]
            for item in w.clicks[u][-4:]
            if item not in exclude[b] and item not in (2, 9)
        ]
        assert [(i, t) for i, _, t in found[b]] == [(i, t) for i, _, t in expected]
        assert [x for _, x, _ in found[b]] == pytest.approx([x for _, x, _ in expected], abs=1e-5)


def test_i2i_is_the_neighbours_of_the_latest_clicks(world):
    w = world(5)
    table = neighbors(w.model.own, 4, "cosine")
    histories, exclude = [[1, 2, 3, 4, 4], [-1, 7], [], [-1]], [[4], [], [], []]
    q = queries_of(w, histories, exclude=exclude)
    found = rows(I2I(table, 3).find(q))
    for b, history in enumerate(histories):
        expected = []
        for item in [i for i in history[-3:][::-1] if i >= 0]:
            near = [(j, cosine(w.model.own[item].tolist(), w.model.own[j].tolist())) for j in range(25) if j != item]
            near.sort(key=lambda pair: (-round(pair[1], 6), pair[0]))
            expected += [(j, x, item) for j, x in near[:4] if j not in exclude[b]]
        assert [(i, t) for i, _, t in found[b]] == [(i, t) for i, _, t in expected]
        assert [x for _, x, _ in found[b]] == pytest.approx([x for _, x, _ in expected], abs=1e-3)


def test_i2i_with_fewer_neighbours_than_asked_for():
    table = NeighborTable(torch.tensor([[1, -1], [-1, -1]], dtype=torch.int32), torch.zeros(2, 2, dtype=torch.float16))
    empty = torch.zeros(1, 0)
    q = Queries(torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool), torch.tensor([-1]), empty, empty)
    assert rows(I2I(table, 5).find(q)) == [[(1, 0.0, 0)]]


@pytest.mark.parametrize("name", ["co_occurs", "similar"])
def test_strongest_edges(world, name):
    w = world(7)
    table = strongest(w.graph.relation(name), 3)
    for i, pairs in enumerate(w.pairs):
        strength = w.scores[i] if name == "similar" else [c / max(w.counts[i]) for c in w.counts[i]]
        best = sorted(zip(pairs, strength, strict=True), key=lambda pair: (-pair[1], pair[0]))[:3]
        padded = best + [(-1, 0.0)] * (3 - len(best))
        assert table.col[i].tolist() == [j for j, _ in padded]
        assert table.score[i].tolist() == pytest.approx([x for _, x in padded], abs=1e-3)


@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_pair_scores(metric):
    g = torch.Generator().manual_seed(0)
    queries, vectors = torch.randn(3, 2, 4, generator=g), torch.randn(9, 4, generator=g)
    items = torch.tensor([[0, 8, 8], [1, 2, 3], [8, 0, 4]])
    score = dot if metric == "ip" else cosine
    expected = [[max(score(q, vectors[i].tolist()) for q in queries[b].tolist()) for i in items[b]] for b in range(3)]
    torch.testing.assert_close(pair_scores(queries, vectors, items, metric), torch.tensor(expected))


def test_latest():
    items, mask, gap = latest(ragged([[1, 2, 3], [], [4, -1]]), 2)
    assert (gap == -1).all()
    assert items[mask].tolist() == [2, 3, 4, -1] and mask.tolist() == [[True, True], [False, False], [True, True]]
    items, mask, gap = latest(ragged([[], []]), 5)
    assert items.shape == gap.shape == (2, 1) and not mask.any()
    times = torch.tensor([5, 9, 9, 40, 41])
    _, mask, gap = latest(ragged([[1, 2, 3], [], [4, -1]])._replace(time=times), 2)
    assert gap.tolist() == [[4, 0], [-1, -1], [-1, 1]]


def test_users_of_the_graph_and_histories_with_times_are_read_with_the_same_gaps(world):
    made = world()
    retriever, clicks = Retriever(made.model, made.graph, made.fusion), made.graph.relation("clicks")
    seen = []
    encode = made.model.encode_queries
    made.model.encode_queries = lambda *given: seen.append(given[4]) or encode(*given)
    retriever.users.vectors  # noqa: B018
    list(retriever.encode(Ragged(clicks.indptr, clicks.col.long(), clicks.time + 99), torch.arange(12)))
    list(retriever.encode(Ragged(clicks.indptr, clicks.col.long()), torch.arange(12)))
    assert torch.equal(seen[0], seen[1]) and (seen[0] == 1).any(), "the times of this world are one second apart"
    assert (seen[2] == -1).all()
