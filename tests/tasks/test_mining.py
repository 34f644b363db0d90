"""Mining against brute force: tables, the bank, and MIC's losses with what was mined, written as loops."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph.recgraph import RecGraph
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Batch
from micgraph.sampling.samples import SamplingConfig
from micgraph.schema import ConfigError
from micgraph.tasks.augment import PerturbConfig
from micgraph.tasks.bank import Bank
from micgraph.tasks.base import Reps
from micgraph.tasks.losses import log_total, multi_positive, nt_xent, symmetric_info_nce, unit, view_contrast
from micgraph.tasks.mining import MiningConfig, Pool, turns_up
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TABLES_UP_TO, TASKS, make_mining
from micgraph.tasks.support import Support
from micgraph.tasks.tables import Tables
from tests.toy import random_rows, toy_graph

N_ITEMS = 14
ROWS = random_rows(n_users=12, n_items=N_ITEMS)
SMALL = {"start": 1, "k": 2, "clusters": 4, "hard": 6, "bank": 8}


def cos(a: Any, b: Any) -> float:
    a, b = [float(x) for x in a], [float(x) for x in b]
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def ratio(positive: float, negatives: list[float], literal: bool = False) -> float:
    total = sum(map(math.exp, negatives)) + (0.0 if literal else math.exp(positive))
    return math.log(total) - positive if total and negatives else 0.0


def average(terms: list[float]) -> float:
    return sum(terms) / len(terms)


def table(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def support_of(n: int, k: int = 3, hard: int = 4) -> Support:
    near, against = torch.randint(9, (n, k)), torch.randint(9, (n, hard))
    return Support(unit(table(9, 3)), near, torch.rand(n, k) < 0.6, against, torch.rand(n, hard) < 0.6, 0.3)


def contrast(anchor: Any, own: Any, others: list[Any], support: Support, i: int, tau: float, literal: bool) -> float:
    """The mean over an anchor's positives, each alone in front of all negatives (MIC 2.5: every positive pair)."""
    rows = support.vectors
    positives = [own, *(rows[j] for j, valid in zip(support.near[i], support.near_valid[i], strict=True) if valid)]
    negatives = [*others, *(rows[j] for j, valid in zip(support.hard[i], support.hard_valid[i], strict=True) if valid)]
    against = [cos(anchor, v) / tau for v in negatives]
    losses = [ratio(cos(anchor, v) / tau, against, literal) for v in positives]
    return (losses[0] + support.weight * sum(losses[1:])) / (1 + support.weight * len(losses[1:]))


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_view_contrast_with_mined_rows(n: int, literal: bool) -> None:
    clean, view, same, support = table(n, 3), table(n, 3), torch.rand(n, n) < 0.3, support_of(n)
    want = []
    for i in range(n):
        others = [clean[j] for j in range(n) if j != i and not same[i, j]]
        want.append(contrast(clean[i], view[i], others, support, i, 0.2, literal))
    got = view_contrast(clean, view, same, 0.2, literal, support)
    assert got.tolist() == pytest.approx(want)


@pytest.mark.parametrize("n", [1, 4])
def test_nt_xent_with_mined_rows(n: int) -> None:
    views, same, support = [table(n, 3), table(n, 3)], torch.rand(n, n) < 0.3, support_of(n)
    want = [0.0] * n
    for side in (0, 1):
        for i in range(n):
            others = [rows[j] for rows in views for j in range(n) if j != i and not same[i, j]]
            want[i] += contrast(views[side][i], views[1 - side][i], others, support, i, 0.3, False) / 2
    assert nt_xent(*views, same, 0.3, support).tolist() == pytest.approx(want)


@pytest.mark.parametrize("n", [1, 4])
def test_symmetric_info_nce_with_mined_rows(n: int) -> None:
    """Either direction has masks, neighbours and hard negatives of its own."""
    left, right, supports = table(n, 3), table(n, 3), (support_of(n), support_of(n))
    masks = torch.rand(n, n) < 0.3, torch.rand(n, n) < 0.3
    want = []
    for i in range(n):
        total = 0.0
        for own, other, mask, support in zip((left, right), (right, left), masks, supports, strict=True):
            others = [other[j] for j in range(n) if j != i and not mask[i, j]]
            total += contrast(own[i], other[i], others, support, i, 0.2, False)
        want.append(total)
    assert symmetric_info_nce(left, right, masks[0], 0.2, supports, masks[1]).tolist() == pytest.approx(want)


def test_one_positive_is_the_plain_loss() -> None:
    clean, view, same = table(4, 3), table(4, 3), torch.rand(4, 4) < 0.3
    nobody = torch.zeros(4, 0, dtype=torch.int64)
    none = Support(table(9, 3), torch.randint(9, (4, 2)), torch.zeros(4, 2).bool(), nobody, nobody.bool())
    torch.testing.assert_close(view_contrast(clean, view, same, 0.1, False, none), view_contrast(clean, view, same))


@pytest.mark.parametrize("literal", [False, True])
def test_gradients_of_several_positives(literal: bool) -> None:
    positive, negative = table(3, 2).requires_grad_(), table(3, 4).requires_grad_()
    weight = torch.tensor([[1.0, 0.5], [1.0, 0.0], [1.0, 0.5]])
    blocked = torch.tensor([[False] * 4, [True, False, True, False], [True] * 4])

    def loss_of(p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        parts = (n[:, :3], blocked[:, :3]), (n[:, 3:], blocked[:, 3:])
        return multi_positive(p, weight, log_total(*parts), literal)

    assert torch.autograd.gradcheck(loss_of, (positive, negative))
    loss = loss_of(positive, negative)
    assert loss[2] == 0 and (loss[:2] != 0).all()
    slope = torch.autograd.grad(loss.sum(), positive)[0]
    assert slope[1, 1] == 0 and (slope[2] == 0).all()


@pytest.mark.parametrize(("k", "hard"), [(3, 4), (1, 0), (0, 2)])
def test_scores_of_mined_rows(k: int, hard: int) -> None:
    anchor, support = table(5, 3).requires_grad_(), support_of(5, k, hard)
    for got, rows in zip(support.scores(anchor), (support.near, support.hard), strict=True):
        for i, row in enumerate(rows):
            assert got[i].tolist() == pytest.approx([float(anchor[i].detach() @ support.vectors[j]) for j in row])
    assert torch.autograd.gradcheck(lambda x: torch.cat(support.scores(x), 1), (anchor,))


@given(st.lists(st.lists(st.integers(-1, 4), min_size=2, max_size=2), max_size=5), st.lists(st.integers(0, 4)))
def test_where_neighbours_turn_up(near: list[list[int]], ids: list[int]) -> None:
    row, place = turns_up(torch.tensor(near, dtype=torch.int64).view(-1, 2), torch.tensor(ids, dtype=torch.int64))
    want = {(i, j) for i, line in enumerate(near) for j, one in enumerate(ids) if one in line}
    assert set(zip(row.tolist(), place.tolist(), strict=True)) == want


def made(
    tasks: tuple[str, ...] = ("ui", "uu", "ii"),
    mining: dict[str, Any] | None = None,
    task: dict[str, Any] | None = None,
    samples: str = "clicks",
    **model: Any,
) -> tuple[Objective, BatchSampler, RecGraph]:
    """An objective that mines, its sampler and its graph; the model is one that has drawn random weights only."""
    torch.manual_seed(3)
    graph = toy_graph(ROWS, N_ITEMS)
    towers = TwoTower(ModelConfig(dim=8, history=5, shared_space=True, **model), graph.item_fields, graph.user_fields)
    chosen = {n: TASKS[n].make(TASKS[n].config(**(task or {})), towers, graph.item_fields) for n in tasks}
    config = MiningConfig(**{"mode": "tables", **SMALL, **(mining or {})})
    found = make_mining(config, chosen.values(), graph.n_users + graph.n_items)
    perturb = PerturbConfig(0.3, 0.0)
    objective = Objective(towers, chosen, graph.item_fields, graph.user_fields, perturb, found)
    requires = [t.requires for t in chosen.values()]
    return objective, BatchSampler(graph, SamplingConfig(samples=samples, batch_size=12), requires, 5), graph


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


STEPS = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=8)


@given(STEPS)
def test_the_bank_is_a_ring_of_the_latest_vectors(steps: list[list[int]]) -> None:
    """Against an ordered dictionary: an id moves to the end with its newest vector; what left its place is gone."""
    bank = Bank(MiningConfig(mode="bank", bank=4), ("ii",))
    places: OrderedDict[int, tuple[int, float]] = OrderedDict()
    value, at = 0.0, 0
    for ids in steps:
        vectors = []
        for _ in ids:
            value += 1.0
            vectors.append([math.cos(value), math.sin(value)])
        bank.remember({"item_own": (torch.tensor(ids), torch.tensor(vectors))})
        last = dict(zip(ids, vectors, strict=True))
        order = sorted(last, key=lambda i: max(p for p, x in enumerate(ids) if x == i))[-4:]
        for i in order:
            places = OrderedDict((p, entry) for p, entry in places.items() if entry[0] != i)
        for i in order:
            places[at] = (i, last[i])
            at = (at + 1) % 4
    pool = bank.pool("item_own")
    assert {p: i for p, i in enumerate(pool.id.tolist()) if i >= 0} == {p: i for p, (i, _) in places.items()}
    for p, (_, vector) in places.items():
        assert pool.vectors[p].tolist() == pytest.approx(vector, abs=1e-6)


def test_the_bank_finds_the_nearest_of_what_it_holds() -> None:
    bank = Bank(MiningConfig(mode="bank", bank=16, k=3, start=1, hard=0), ("uu", "ui"))
    ids, vectors = torch.arange(20, 30), torch.randn(10, 4)
    bank.remember({"user_own": (ids, vectors), "user_search": (ids, vectors), "item_search": (ids, 2 * vectors)})
    bank.active = True
    anchors = torch.randn(5, 4)
    for direction, partner in (("uu", torch.tensor([20, 25, 3, 29, 21])), ("ui", torch.tensor([1, 22, 23, 24, 25]))):
        got = bank.mined(direction, 1, partner, anchors, partner, anchors)  # type: ignore[arg-type]
        assert got is not None and got.support.near_valid.all()
        for line, own in enumerate(partner.tolist()):
            others = [(cos(anchors[line], v), i) for i, v in zip(ids.tolist(), vectors, strict=True) if i != own]
            assert got.near_id[line].tolist() == [i for _, i in sorted(others, reverse=True)[:3]]


def test_an_empty_bank_gives_nothing() -> None:
    objective, sampler, _ = made(mining={"mode": "bank"})
    objective.begin_epoch(0, sampler.clicks, seed=1)
    batch = sampler.batch(0, 0)
    reps = objective.encode(batch)
    users, vectors = batch.user, reps.queries
    assert reps.mined("uu", 1, (users, vectors), (users, vectors)) is None
    objective.train()(batch)
    assert reps.mined("uu", 1, (users, vectors), (users, vectors)) is not None


def test_evaluation_mode_remembers_nothing() -> None:
    objective, sampler, _ = made(mining={"mode": "bank"})
    objective.eval()(sampler.batch(0, 0))
    assert objective.mining is not None
    assert (objective.mining.user_own_id < 0).all()


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
