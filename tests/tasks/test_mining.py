"""Mining against brute force: tables, and MIC's losses with what was mined, written as loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from micgraph.graph.recgraph import RecGraph
from micgraph.nn.export import BoundModel
from micgraph.sampling.plan import Batch
from micgraph.schema import ConfigError
from micgraph.tasks.bank import Bank
from micgraph.tasks.base import Reps
from micgraph.tasks.mining import MiningConfig, Pool
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TABLES_UP_TO, make_mining
from micgraph.tasks.tables import Tables
from tests.tasks.mined import ROWS, contrast, cos, made


def average(terms: list[float]) -> float:
    return sum(terms) / len(terms)


def encoded(objective: Objective, graph: RecGraph) -> dict[str, dict[int, torch.Tensor]]:
    """Every user's and item's vectors by space, one at a time, read from the raw clicks."""
    model = BoundModel(objective.towers, graph.item_fields, graph.user_fields)
    search, own = model.item_vectors()
    found = {
        "item_own": dict(enumerate(own)),
        "item_search": dict(enumerate(search)),
        "user_own": {},
        "user_search": {},
    }
    for user, row in enumerate(ROWS):
        if row:
            items = torch.tensor([[item for _, item in row[-5:]]])
            s, o = model.encode_queries(items, torch.ones_like(items, dtype=torch.bool), torch.tensor([user]))
            found["user_search"][user], found["user_own"][user] = s[0], o[0]
    return found


ROUTES = {
    "uu": ("user_own", "user_own"),
    "ii": ("item_own", "item_own"),
    "ui": ("user_search", "item_search"),
    "iu": ("item_search", "user_search"),
}


def mined_of(objective: Objective, direction: str, ids: list[int], partner: list[int], vectors: Any) -> Any:
    source, target = ROUTES[direction]
    anchor = torch.stack([vectors[source][i] for i in ids])
    other = torch.stack([vectors[target][i] for i in partner])
    assert objective.mining is not None
    return objective.mining.mined(direction, 7, torch.tensor(ids), anchor, torch.tensor(partner), other)  # type: ignore[arg-type]


@pytest.mark.parametrize("direction", ROUTES)
def test_tables_hold_the_nearest_by_cosine(direction: str) -> None:
    """k nearest of every node; somebody without a click is found by nobody, nobody finds himself."""
    objective, sampler, graph = made()
    assert not ROWS[0]
    objective.begin_epoch(0, sampler.clicks, seed=1)
    vectors = encoded(objective, graph)
    source, target = ROUTES[direction]
    for node, anchor in vectors[source].items():
        others = [(cos(anchor, v), i) for i, v in vectors[target].items() if source != target or i != node]
        want = sorted(others, reverse=True)[:2]
        partner = node if source == target else next(i for i in vectors[target] if i not in [x for _, x in want])
        got = mined_of(objective, direction, [node], [partner], vectors)
        assert [cos(anchor, vectors[target][i]) for i in got.near_id[0].tolist()] == pytest.approx([c for c, _ in want])
        assert got.support.near_valid.all()
        for i, vector in zip(got.near_id[0].tolist(), got.support.vectors[got.support.near[0]], strict=True):
            torch.testing.assert_close(vector, torch.nn.functional.normalize(vectors[target][i], dim=0))


def test_an_anchors_own_partner_is_not_counted_twice() -> None:
    objective, sampler, graph = made()
    objective.begin_epoch(0, sampler.clicks, seed=1)
    vectors = encoded(objective, graph)
    nearest = int(mined_of(objective, "ui", [3], [0], vectors).near_id[0, 0])
    got = mined_of(objective, "ui", [3], [nearest], vectors)
    assert got.near_id[0, 0] == nearest and got.support.near_valid.tolist() == [[False, True]]


@pytest.mark.parametrize("closest", [False, True])
@pytest.mark.parametrize("direction", ROUTES)
def test_hard_negatives_lie_in_other_clusters(direction: str, closest: bool) -> None:
    objective, sampler, graph = made(mining={"nearest_other_cluster": closest, "hard": 60})
    objective.begin_epoch(0, sampler.clicks, seed=1)
    vectors = encoded(objective, graph)
    source, target = ROUTES[direction]
    ids = [i for i in vectors[source] if i > 1]
    partner = ids if source == target else [i for i in vectors[target] if i > 1][: len(ids)]
    ids = ids[: len(partner)]
    got = mined_of(objective, direction, ids, partner, vectors)
    assert objective.mining is not None
    pool = objective.mining.pool(target)
    of_row = [min(range(len(pool.centres)), key=lambda c: torch.dist(pool.centres[c], v).item()) for v in pool.vectors]
    cluster = {int(node): c for node, c in zip(pool.id, of_row, strict=True)}
    unit = {int(node): v for node, v in zip(pool.id, pool.vectors, strict=True)}
    for line, own in enumerate(partner):
        valid = got.support.hard_valid[line]
        drawn = set()
        for vector in got.support.vectors[got.support.hard[line][valid]]:
            drawn.add(next(i for i, v in unit.items() if torch.equal(v, vector)))
        allowed = {i for i, c in cluster.items() if c != cluster[own]}
        if closest:
            apart = {c: torch.dist(pool.centres[c], pool.centres[cluster[own]]).item() for c in set(cluster.values())}
            del apart[cluster[own]]
            allowed = {i for i in allowed if cluster[i] == min(apart, key=apart.__getitem__)}
        allowed -= set(got.near_id[line].tolist()) | {own}
        if direction == "ui":  # what he has clicked is no negative of his
            allowed -= {item for _, item in ROWS[ids[line]]}
        if direction == "iu":
            allowed -= {user for user, row in enumerate(ROWS) if ids[line] in [item for _, item in row]}
        assert drawn == allowed


def directed(mined: Any, line: int, anchor: Any, own: Any, others: list[Any], tau: float) -> float:
    return contrast(anchor, own, others, mined.support, line, tau, False)


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize("mode", ["tables", "bank"])
def test_the_three_tasks_with_mining(mode: str, samples: str) -> None:
    """MIC Eqs. 6-8 over all positive pairs; a neighbour in the batch is no negative, nor is a row of the same id."""
    objective, sampler, graph = made(mining={"mode": mode}, task={"tau": 0.5}, samples=samples)
    objective.train()
    if mode == "bank":  # another batch has gone before
        objective(sampler.batch(0, 0))
    objective.begin_epoch(0, sampler.clicks, seed=1)
    batch = sampler.batch(1, 0)
    with torch.no_grad():
        reps = objective.encode(batch)
        got = {name: float(task(batch, reps)) for name, task in objective.tasks.items()}
    want = {"uu": user_user(batch, reps), "ii": item_item(batch, reps), "ui": user_item(batch, reps)}
    assert got == pytest.approx(want, rel=1e-4)
    plain = {name: float(task(batch, replaced(reps))) for name, task in objective.tasks.items()}
    assert all(abs(plain[name] - got[name]) > 1e-4 for name in got)


def replaced(reps: Reps) -> Reps:
    from dataclasses import replace

    return replace(reps, mining=None)


def user_user(batch: Batch, reps: Reps) -> float:
    users = batch.user[batch.pair_row[batch.anchor]]
    vectors = reps.queries[batch.anchor]
    mined = reps.mined("uu", batch.key, (users, vectors), (users, vectors))
    assert mined is not None and bool(mined.support.near_valid.any()) and bool(mined.support.hard_valid.any())
    return within(mined, users.tolist(), vectors, reps.query_views[0])


def item_item(batch: Batch, reps: Reps) -> float:
    items, vectors = batch.items[batch.item_anchor], reps.items.vectors[batch.item_anchor]
    mined = reps.mined("ii", batch.key, (items, vectors), (items, vectors))
    return within(mined, items.tolist(), vectors, reps.item_views[0])


def within(mined: Any, ids: list[int], vectors: torch.Tensor, views: torch.Tensor) -> float:
    terms = []
    for i, own in enumerate(ids):
        kept = [j for j, other in enumerate(ids) if other != own and other not in mined.near_id[i].tolist()]
        terms.append(directed(mined, i, vectors[i], views[i], [vectors[j] for j in kept], 0.5))
    return average(terms)


def user_item(batch: Batch, reps: Reps) -> float:
    target = batch.target[batch.anchor]
    users, items = batch.user[batch.pair_row[batch.anchor]], batch.items[target]
    u, v = reps.search_queries[batch.anchor], reps.search_items[target]
    to_items = reps.mined("ui", batch.key, (users, u), (items, v))
    to_users = reps.mined("iu", batch.key, (items, v), (users, u))
    terms = []
    for i in range(len(users)):
        strangers = [j for j in range(len(users)) if users[j] != users[i] and items[j] != items[i]]
        no_near = [v[j] for j in strangers if int(items[j]) not in to_items.near_id[i].tolist()]
        no_user = [u[j] for j in strangers if int(users[j]) not in to_users.near_id[i].tolist()]
        terms.append(directed(to_items, i, u[i], v[i], no_near, 0.5) + directed(to_users, i, v[i], u[i], no_user, 0.5))
    return average(terms)


def test_mined_vectors_carry_no_gradient_and_mining_draws_the_same_again() -> None:
    objective, sampler, _ = made()
    objective.begin_epoch(0, sampler.clicks, seed=1)
    total, _ = objective.train()(sampler.batch(0, 0))
    total.backward()
    assert objective.mining is not None
    assert not any(b.requires_grad for b in objective.mining.buffers())
    again = made()[0].train()
    again.begin_epoch(0, sampler.clicks, seed=1)
    assert torch.equal(again(sampler.batch(0, 0))[0], total)


@pytest.mark.parametrize("mode", ["tables", "bank"])
def test_nothing_is_mined_before_the_epoch_that_starts_it(mode: str) -> None:
    objective, sampler, _ = made(mining={"mode": mode, "start": 3})
    objective.train()
    seen = []
    for epoch in range(4):
        objective.begin_epoch(epoch, sampler.clicks, seed=1)
        batch = sampler.batch(epoch, 0)
        with torch.no_grad():
            reps = objective.encode(batch)
        plain, mined = (float(objective.tasks["uu"](batch, r)) for r in (replaced(reps), reps))
        seen.append(plain != mined)
        with torch.no_grad():
            objective(batch)
    assert seen == [False, False, True, True]


def test_tables_are_made_again_as_often_as_asked() -> None:
    objective, sampler, _ = made(mining={"start": 2, "every": 2})
    assert objective.mining is not None
    states = []
    for epoch in range(6):
        with torch.no_grad():
            for weight in objective.towers.parameters():
                weight += 0.05 * torch.randn_like(weight)
        objective.begin_epoch(epoch, sampler.clicks, seed=1)
        states.append(objective.mining.user_own_vectors.clone())
    assert [len(s) > 0 for s in states] == [False, True, True, True, True, True]
    fresh = [not torch.equal(a, b) for a, b in zip(states[1:], states[2:], strict=False)]
    assert fresh == [False, True, False, True]


@pytest.mark.parametrize("mode", ["tables", "bank"])
def test_a_checkpoint_holds_all_that_was_mined(mode: str) -> None:
    objective, sampler, _ = made(mining={"mode": mode})
    objective.train()
    for epoch in range(2):
        objective.begin_epoch(epoch, sampler.clicks, seed=1)
        objective(sampler.batch(epoch, 0))
    other = made(mining={"mode": mode})[0].train()
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    other.load_state_dict({name: value.clone() for name, value in objective.state_dict().items()})
    other.begin_epoch(1, sampler.clicks, seed=1, resumed=True)
    batch = sampler.batch(1, 0)
    assert torch.equal(other(batch)[0], objective(batch)[0])


@pytest.mark.parametrize("tasks", [("ui",), ("uu",), ("ii",), ("uu", "ii")])
@pytest.mark.parametrize("mode", ["tables", "bank"])
def test_only_what_the_tasks_ask_for_is_kept(mode: str, tasks: tuple[str, ...]) -> None:
    objective, sampler, _ = made(tasks, {"mode": mode})
    objective.begin_epoch(0, sampler.clicks, seed=1)
    assert objective.mining is not None
    wanted = {space for task in tasks for d in TASKS_MINE[task] for space in ROUTES[d]}
    assert set(objective.mining.spaces) == wanted
    assert torch.isfinite(objective.train()(sampler.batch(0, 0))[0])


TASKS_MINE = {"ui": ("ui", "iu"), "uu": ("uu",), "ii": ("ii",)}


def test_which_way_of_mining() -> None:
    tasks = made()[0].tasks.values()
    kind = {n: type(make_mining(MiningConfig(), tasks, n)) for n in (TABLES_UP_TO, TABLES_UP_TO + 1)}  # type: ignore[arg-type]
    assert kind == {TABLES_UP_TO: Tables, TABLES_UP_TO + 1: Bank}
    assert make_mining(MiningConfig(mode="none"), tasks, 5) is None  # type: ignore[arg-type]
    assert made(("matching",))[0].mining is None
    for bad in ({"k": -1}, {"clusters": 0}, {"start": 0}, {"bank": 0}, {"every": 0}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            MiningConfig(**bad)


def test_without_neighbours_or_without_hard_negatives() -> None:
    for sizes in ({"k": 0}, {"hard": 0}, {"k": 0, "hard": 0}, {"k": 99, "hard": 99, "clusters": 99}):
        for mode in ("tables", "bank"):
            objective, sampler, _ = made(mining={**sizes, "mode": mode})
            objective.train()
            objective(sampler.batch(0, 0))
            objective.begin_epoch(1, sampler.clicks, seed=1)
            loss, _ = objective(sampler.batch(1, 0))
            loss.backward()
            assert torch.isfinite(loss)
    assert isinstance(objective.mining.pool("item_own"), Pool)  # type: ignore[union-attr]
