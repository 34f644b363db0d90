"""Each task against loops over its batch and the step's vectors; the main objective is in test_matching."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from micgraph.graph.fields import take
from micgraph.sampling.plan import Batch
from micgraph.schema import ConfigError
from micgraph.tasks.augment import PerturbConfig, keep_mask
from micgraph.tasks.base import Reps
from micgraph.tasks.registry import expand
from tests.tasks.one_step import N_ITEMS, POPULARITY, ROWS, average, cos, dot, loss_of, ratio, step
from tests.toy import toy_graph


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
            among = sum(count > 0 for count in POPULARITY)  # items without clicks are no negatives
            q = 1 / among if kind == "uniform" else POPULARITY[item] / sum(POPULARITY)
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


def test_a_view_of_nothing_perturbed_is_the_query_itself() -> None:
    """Without a second dropout, in training too."""
    objective, batch, _ = step({"uu": {}}, perturb=PerturbConfig(sides="none"), dropout=0.5)
    reps = objective.train().encode(batch)
    assert torch.equal(reps.query_views[0], reps.queries[batch.anchor])
