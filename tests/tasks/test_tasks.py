"""Each task against loops over its batch and the step's vectors."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from micgraph.graph.fields import take
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Batch
from micgraph.sampling.samples import SamplingConfig
from micgraph.schema import ConfigError
from micgraph.tasks.augment import PerturbConfig, keep_mask
from micgraph.tasks.base import Reps
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS, expand
from tests.toy import random_rows, toy_graph

N_ITEMS = 14
ROWS = random_rows(n_items=N_ITEMS)
CLICKED = {(user, item) for user, row in enumerate(ROWS) for _, item in row}
POPULARITY = [sum(item == i for row in ROWS for _, item in row) for i in range(N_ITEMS)]


def step(
    tasks: dict[str, dict], samples: str = "clicks", perturb: PerturbConfig | None = None, **model
) -> tuple[Objective, Batch, Reps]:
    """An objective with these tasks, one batch and what was encoded for it, without dropout."""
    graph = toy_graph(ROWS, N_ITEMS)
    towers = TwoTower(ModelConfig(dim=8, history=5, **model), graph.item_fields, graph.user_fields)
    made = {
        name: TASKS[name].make(TASKS[name].config(**settings), towers, graph.item_fields)
        for name, settings in tasks.items()
    }
    objective = Objective(towers, made, graph.item_fields, graph.user_fields, perturb).eval()
    config = SamplingConfig(samples=samples, batch_size=12)
    batch = BatchSampler(graph, config, [t.requires for t in made.values()], 5).batch(0, 0)
    with torch.no_grad():
        return objective, batch, objective.encode(batch)


def loss_of(name: str, **settings) -> tuple[float, Batch, Reps, Objective]:
    samples, model = settings.pop("samples", "clicks"), settings.pop("model", {})
    objective, batch, reps = step({name: settings}, samples, **model)
    with torch.no_grad():
        return float(objective.tasks[name](batch, reps)), batch, reps, objective


def dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def cos(a: torch.Tensor, b: torch.Tensor) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def ratio(positive: float, negatives: list[float], literal: bool = False) -> float:
    total = sum(map(math.exp, negatives)) + (0.0 if literal else math.exp(positive))
    return math.log(total) - positive if total else 0.0


def average(terms: list[float]) -> float:
    assert terms
    return sum(terms) / len(terms)


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("kind", ["uniform", "popularity", "in_batch"])
def test_matching_softmax(kind: str, literal: bool, samples: str) -> None:
    """MicRec Eqs. 1 and 7: negatives that the user has not clicked; cosine scores over tau here."""
    model = {"similarity": "cosine", "temperature": 0.5}
    got, batch, reps, _ = loss_of("matching", negatives=kind, count=9, literal=literal, samples=samples, model=model)
    terms = []
    for pair, line in enumerate(batch.pair_row.tolist()):
        query, user = reps.queries[pair], int(batch.user[line])

        def score(item: int, query: torch.Tensor = query) -> float:
            return cos(query, reps.items.vectors[item]) / 0.5

        def log_share(item: int) -> float:
            return math.log(POPULARITY[int(batch.items[item])] / sum(POPULARITY))

        target = int(batch.target[pair])
        if kind == "in_batch":
            others = [i for i in batch.distinct_target.tolist() if (user, int(batch.items[i])) not in CLICKED]
            positive = score(target) - log_share(target)
            negatives = [score(i) - log_share(i) for i in others]
        else:
            drawn = batch.negatives[kind, 9].item.tolist()
            others = [i for i in drawn if (user, int(batch.items[i])) not in CLICKED]
            shift = [log_share(i) + math.log(9) if kind == "popularity" else 0.0 for i in others]
            positive, negatives = score(target), [score(i) - s for i, s in zip(others, shift, strict=True)]
        terms.append(ratio(positive, negatives, literal))
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("samples", ["clicks", "positions"])
def test_matching_over_the_whole_catalogue(samples: str) -> None:
    got, batch, reps, _ = loss_of("matching", negatives="full", samples=samples)
    terms = []
    for pair in range(len(batch.target)):
        scores = [dot(reps.queries[pair], reps.items.vectors[i]) for i in range(N_ITEMS)]
        terms.append(ratio(scores.pop(int(batch.target[pair])), scores))
    assert got == pytest.approx(average(terms), rel=1e-4)


def wanted_after(batch: Batch, pair: int, window: int) -> list[int]:
    """Local items of a pair's window, found in the user's clicks from the target's place on."""
    line = int(batch.pair_row[pair])
    if batch.pair_at is None:
        place = int(batch.sample[line]) - sum(len(row) for row in ROWS[: int(batch.user[line])])
    else:  # the sample is the piece's end; of its T + 1 clicks the target follows what was read
        length = int(batch.mask[line].sum()) + 1
        end = int(batch.sample[line]) - sum(len(row) for row in ROWS[: int(batch.user[line])])
        same = [p for p in range(len(batch.target)) if int(batch.pair_row[p]) == line]
        place = end - length + 1 + (length - 1 - len(same)) + same.index(pair)
    items = [item for _, item in ROWS[int(batch.user[line])][place : place + window]]
    assert items[0] == int(batch.items[batch.target[pair]])
    return [batch.items.tolist().index(item) for item in items]


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize(("window", "spare"), [(1, True), (3, False), (3, True), (50, True)])
def test_matching_over_the_catalogue_with_windows_and_spared_clicks(samples: str, window: int, spare: bool) -> None:
    """Each wanted click has a denominator of its own with all others, or with those the user has not clicked."""
    settings = {"negatives": "full", "window": window, "window_weight": 0.3, "spare_clicked": spare}
    got, batch, reps, _ = loss_of("matching", samples=samples, **settings)
    terms = []
    for pair, line in enumerate(batch.pair_row.tolist()):
        scores = [dot(reps.queries[pair], reps.items.vectors[i]) for i in range(N_ITEMS)]
        clicked = {i for i in range(N_ITEMS) if spare and (int(batch.user[line]), i) in CLICKED}

        def lost(item: int, scores: list[float] = scores, clicked: set[int] = clicked) -> float:
            return ratio(scores[item], [s for i, s in enumerate(scores) if i != item and i not in clicked])

        wanted = wanted_after(batch, pair, window)
        terms.append((0.7 if window > 1 else 1.0) * lost(wanted[0]))
        if window > 1:
            terms[-1] += 0.3 * average([lost(item) for item in wanted])
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize("kind", ["uniform", "popularity"])
def test_matching_against_drawn_negatives_with_a_window(kind: str, samples: str) -> None:
    got, batch, reps, _ = loss_of("matching", negatives=kind, count=9, window=3, window_weight=0.3, samples=samples)
    terms = []
    for pair, line in enumerate(batch.pair_row.tolist()):
        user, drawn = int(batch.user[line]), batch.negatives[kind, 9].item.tolist()
        others = [i for i in drawn if (user, int(batch.items[i])) not in CLICKED]
        shift = [0.0] * len(others)
        if kind == "popularity":
            shift = [math.log(9 * POPULARITY[int(batch.items[i])] / sum(POPULARITY)) for i in others]
        scores = [dot(reps.queries[pair], reps.items.vectors[i]) - s for i, s in zip(others, shift, strict=True)]
        losses = [ratio(dot(reps.queries[pair], reps.items.vectors[i]), scores) for i in wanted_after(batch, pair, 3)]
        terms.append(0.7 * losses[0] + 0.3 * average(losses))
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"spare_clicked": True},
        {"window": 2, "loss": "logistic"},
        {"window": 2, "literal": True},
        {"window": 2, "negatives": "in_batch"},
        {"window": 0},
        {"window_weight": 1.5},
    ],
)
def test_matching_refuses_windows_and_spared_clicks_that_it_would_ignore(settings: dict) -> None:
    with pytest.raises(ConfigError, match="window|spare_clicked"):
        TASKS["matching"].config(**settings)


@pytest.mark.parametrize("kind", ["uniform", "in_batch", "popularity"])
def test_matching_logistic(kind: str) -> None:
    """MIC Eq. 9 as printed: labels 1 and 0 for the sigmoid of the score, mean over labelled pairs."""
    got, batch, reps, _ = loss_of("matching", loss="logistic", negatives=kind, count=9)
    terms = []
    for pair, user in enumerate(batch.user.tolist()):
        pool = batch.distinct_target if kind == "in_batch" else batch.negatives[kind, 9].item
        pairs = [(int(batch.target[pair]), 1)]
        pairs += [(i, 0) for i in pool.tolist() if (user, int(batch.items[i])) not in CLICKED]
        for item, label in pairs:
            p = 1 / (1 + math.exp(-dot(reps.queries[pair], reps.items.vectors[item])))
            terms.append(-math.log(p if label else 1 - p))
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("settings", [{"loss": "logistic"}, {"literal": True}])
def test_a_full_softmax_refuses_what_it_would_ignore(settings: dict) -> None:
    with pytest.raises(ConfigError, match="negatives"):
        TASKS["matching"].config(negatives="full", **settings)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("negatives", [3, 50])
def test_feature_task(negatives: int, cosine: bool, literal: bool) -> None:
    """MicRec Eqs. 2-3; without dropout the augmented side equals the clean one, so the sum can be written down."""
    got, batch, reps, objective = loss_of("fea", negatives=negatives, cosine=cosine, tau=0.7, literal=literal)
    task = objective.tasks["fea"]
    pool = task._pool(batch).tolist()
    assert len(set(pool)) == len(pool) == min(negatives, len(batch.item_anchor))
    projected = [task.project(reps.items.fields[a].flatten()).detach() for a in batch.item_anchor.tolist()]
    g = cos if cosine else dot
    terms = []
    for i, anchor in enumerate(projected):
        others = [g(anchor, projected[j]) / 0.7 for j in pool if j != i]
        terms.append(ratio(g(anchor, anchor) / 0.7, others, literal))
    assert got == pytest.approx(average(terms), rel=1e-4)


def test_feature_task_drops_elements_of_one_side_in_training_only() -> None:
    objective, batch, reps = step({"fea": {"mask_ratio": 0.5}})
    task = objective.tasks["fea"]
    seen = []
    task.project.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    clean = reps.items.fields[batch.item_anchor].flatten(1)
    task(batch, reps)
    assert all(torch.equal(x, clean) for x in seen)
    seen.clear()
    task.train()
    task(batch, reps)
    dropped = [x for x in seen if not torch.equal(x, clean)]
    assert len(seen) == 2 and len(dropped) == 1
    kept = dropped[0] != 0
    torch.testing.assert_close(dropped[0][kept], clean[kept] * 2)  # inverted dropout
    assert 0.3 < (dropped[0][clean != 0] == 0).float().mean() < 0.7


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("kind", ["uniform", "popularity"])
@pytest.mark.parametrize("name", ["sem", "sess"])
def test_neighbour_tasks(name: str, kind: str, literal: bool) -> None:
    """MicRec Eqs. 4 and 5 with logQ; sem and the printed sess reject every neighbour, sess only its own positive."""
    got, batch, reps, objective = loss_of(name, negatives=8, kind=kind, literal=literal, tau=0.8)
    project, relation = objective.tasks[name].project, {"sem": "similar", "sess": "co_occurs"}[name]
    graph = toy_graph(ROWS, N_ITEMS)
    rel = graph.relations[relation]
    linked = {(int(r), int(c)) for r, c in zip(rel.row_index(), rel.col, strict=True)}
    v = [project(x).detach() for x in reps.items.vectors]
    terms = []
    for k, anchor in enumerate(batch.item_anchor.tolist()):
        i = int(batch.items[anchor])
        if not any(a == i for a, _ in linked):
            continue
        positive = int(batch.positives[relation].item[k])
        p = int(batch.items[positive])
        assert (i, p) in linked
        others = []
        for j in batch.negatives[kind, 8].item.tolist():
            item = int(batch.items[j])
            if item in (i, p) or ((name == "sem" or literal) and (i, item) in linked):
                continue
            q = 1 / N_ITEMS if kind == "uniform" else POPULARITY[item] / sum(POPULARITY)
            others.append(dot(v[anchor], v[j]) / 0.8 - math.log(8 * q))
        terms.append(ratio(dot(v[anchor], v[positive]) / 0.8, others, literal))
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("samples", ["clicks", "positions"])
@pytest.mark.parametrize("shared", [False, True])
def test_user_item_task(shared: bool, samples: str) -> None:
    """MIC Eq. 6 over one pair of every query; the same user or the same item is no negative."""
    model = {"shared_space": shared, "similarity": "cosine"}
    got, batch, reps, objective = loss_of("ui", tau=0.2, samples=samples, model=model)
    towers = objective.towers
    chosen = batch.anchor.tolist()
    users = [int(batch.user[batch.pair_row[a]]) for a in chosen]
    items = [int(batch.items[batch.target[a]]) for a in chosen]
    x = [towers.search_queries(reps.queries[a]).detach() for a in chosen]
    y = [towers.search_items(reps.items)[batch.target[a]].detach() for a in chosen]
    assert len(set(users)) < len(users) or samples == "positions"
    terms = []
    for k in range(len(chosen)):
        others = [j for j in range(len(chosen)) if users[j] != users[k] and items[j] != items[k]]
        own = cos(x[k], y[k]) / 0.2
        terms.append(ratio(own, [cos(x[k], y[j]) / 0.2 for j in others]))
        terms[-1] += ratio(own, [cos(x[j], y[k]) / 0.2 for j in others])
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize("name", ["uu", "ii"])
def test_channel_tasks_with_one_view(name: str, literal: bool) -> None:
    """MIC Eqs. 7-8 in each side's own space."""
    got, batch, reps, _ = loss_of(name, tau=0.3, literal=literal)
    clean, ids, views = _side(name, batch, reps)
    terms = []
    for k in range(len(ids)):
        others = [cos(clean[k], clean[j]) / 0.3 for j in range(len(ids)) if ids[j] != ids[k]]
        terms.append(ratio(cos(clean[k], views[0][k]) / 0.3, others, literal))
    assert got == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("name", ["uu", "ii"])
def test_channel_tasks_with_two_views(name: str) -> None:
    got, batch, reps, _ = loss_of(name, tau=0.3, views=2)
    _, ids, views = _side(name, batch, reps)
    terms = []
    for side in (0, 1):
        for k in range(len(ids)):
            others = [cos(views[side][k], v[j]) / 0.3 for v in views for j in range(len(ids)) if ids[j] != ids[k]]
            terms.append(ratio(cos(views[side][k], views[1 - side][k]) / 0.3, others))
    assert got == pytest.approx(average(terms), rel=1e-4)


def _side(name: str, batch: Batch, reps: Reps) -> tuple[torch.Tensor, list[int], tuple[torch.Tensor, ...]]:
    if name == "uu":
        ids = batch.user[batch.pair_row[batch.anchor]].tolist()
        assert len(set(ids)) < len(ids), "the batch has a user twice"
        return reps.queries[batch.anchor], ids, reps.query_views
    return reps.items.vectors[batch.item_anchor], batch.items[batch.item_anchor].tolist(), reps.item_views


def test_views_mask_history_and_fields_by_the_samples_own_numbers() -> None:
    """A view is the encoder's vector with the masked items read as unknown and the masked user fields as missing."""
    for samples in ("clicks", "positions"):
        objective, batch, reps = step({"uu": {"views": 2}, "ii": {}}, samples, PerturbConfig(0.5, 0.0))
        assert len(reps.query_views) == 2 and len(reps.item_views) == 1
        clean = reps.queries[batch.anchor]
        assert not torch.allclose(reps.query_views[0], clean)
        assert not torch.allclose(reps.query_views[0], reps.query_views[1])
        again = objective.encode(batch)
        assert all(torch.equal(a, b) for a, b in zip(reps.query_views, again.query_views, strict=True))
        _, _, plain = step({"uu": {}, "ii": {}}, samples, PerturbConfig(0.0, 0.0))
        torch.testing.assert_close(plain.query_views[0], plain.queries[batch.anchor])
        torch.testing.assert_close(plain.item_views[0], plain.items.vectors[batch.item_anchor])


@pytest.mark.parametrize("samples", ["clicks", "positions"])
def test_a_view_with_everything_masked_is_that_of_nobody_reading_unknown_items(samples: str) -> None:
    """MIC 2.4.1: masked are the user's fields and the history's items, and of items all fields."""
    objective, batch, reps = step({"uu": {}, "ii": {}}, samples, PerturbConfig(1.0, 0.0))
    nobody = take(objective.fields["user"], torch.full_like(batch.user, -1))
    strangers = objective.towers.query_input(reps.items, torch.full_like(batch.history, -1), batch.mask, nobody)
    want = objective._pairs(batch, strangers)[batch.anchor]
    torch.testing.assert_close(reps.query_views[0], want)
    torch.testing.assert_close(reps.item_views[0], reps.items.vectors[-1].expand_as(reps.item_views[0]))


@pytest.mark.parametrize("model", [{"user_fields": ()}, {"encoder": "ican", "user_fields": ()}, {"encoder": "mic_dnn"}])
def test_dropout_of_views_acts_in_training_only(model: dict) -> None:
    objective, batch, reps = step({"uu": {}, "ii": {}}, perturb=PerturbConfig(0.0, 0.5), **model)
    torch.testing.assert_close(reps.query_views[0], reps.queries[batch.anchor])
    reps = objective.train().encode(batch)
    assert not torch.allclose(reps.query_views[0], reps.queries[batch.anchor])
    assert not torch.allclose(reps.item_views[0], reps.items.vectors[batch.item_anchor])


def test_keep_mask_has_the_rate_and_belongs_to_the_sample() -> None:
    sample = torch.arange(4000)
    keep = keep_mask(5, sample, 6, 0.2)
    assert keep.double().mean() == pytest.approx(0.8, abs=0.01)
    assert torch.equal(keep_mask(5, sample.flip(0), 6, 0.2), keep.flip(0))
    assert keep_mask(5, sample, 6, 0.0).all() and keep_mask(5, sample, 0, 0.2).shape == (4000, 0)


ALL = {
    "matching": {"weight": 0.7},
    "fea": {"weight": 1.1},
    "sem": {},
    "sess": {},
    "ui": {},
    "uu": {},
    "ii": {"weight": 2.0},
}


@pytest.mark.parametrize("samples", ["clicks", "positions"])
def test_the_total_is_the_weighted_sum(samples: str) -> None:
    """MicRec Eq. 8 and MIC Eq. 10."""
    objective, batch, _ = step(ALL, samples)
    total, parts = objective(batch)
    assert list(parts) == list(ALL) and all(torch.isfinite(p) and not p.requires_grad for p in parts.values())
    assert total.item() == pytest.approx(sum(objective.tasks[n].weight * float(p) for n, p in parts.items()))
    total.backward()
    gradients = {name: p.grad for name, p in objective.named_parameters() if p.requires_grad}
    assert all(g is None or torch.isfinite(g).all() for g in gradients.values())
    trained = [name for name, g in gradients.items() if g is not None and g.abs().sum() > 0]
    assert {name.split(".")[1] for name in trained if name.startswith("tasks.")} == {"fea", "sem", "sess"}


def test_projectors_belong_to_tasks_and_not_to_the_exported_towers() -> None:
    objective, _, _ = step(ALL)
    alone, _, _ = step({"matching": {}})
    assert set(objective.towers.state_dict()) == set(alone.towers.state_dict())
    owned = {name for name in objective.state_dict() if not name.startswith("towers.")}
    assert owned == {f"tasks.{t}.project.{p}" for t in ("fea", "sem", "sess") for p in ("weight", "bias")}


def test_one_task_does_not_change_what_another_reads() -> None:
    """The matching loss of the same weights is the same with six other tasks beside it."""
    alone, batch, reps = step({"matching": {"count": 9}})
    beside, more, _ = step({"matching": {"count": 9}, **{k: v for k, v in ALL.items() if k != "matching"}})
    beside.towers.load_state_dict(alone.towers.state_dict())
    with torch.no_grad():
        assert float(beside(more)[1]["matching"]) == pytest.approx(float(alone.tasks["matching"](batch, reps)))


def test_a_batch_without_any_neighbour_has_no_loss() -> None:
    objective, batch, reps = step({"sess": {}})
    positives = replace(batch.positives["co_occurs"], valid=torch.zeros_like(batch.positives["co_occurs"].valid))
    loss = objective.tasks["sess"](replace(batch, positives={"co_occurs": positives}), reps)
    assert loss.item() == 0 and loss.requires_grad


def test_names_of_tasks() -> None:
    assert expand(["mic", "fea", "uu"]) == ["ui", "uu", "ii", "fea"]
    assert expand(["micrec"]) == ["fea", "sem", "sess"]
    with pytest.raises(ConfigError, match="fae"):
        expand(["fae"])
