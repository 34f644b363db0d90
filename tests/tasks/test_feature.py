"""The feature-level tasks against loops over items, fields and values."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain, combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.graph.fields import Field, take
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.schema import ConfigError
from micgraph.tasks.augment import drop_values, keep_some
from micgraph.tasks.feature import FeatureConfig, MaskedCL, MaskingConfig
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import TASKS, contract, expand
from tests.tasks.one_step import average, cos, dot, ratio, step
from tests.toy import item_fields, multi, user_fields

FIELDS = tuple(item_fields(4))


def sides(augment: str, through_tower: bool, train: bool = False, **settings) -> tuple[Objective, list, list, list]:
    """What the projector of the feature task reads: the clean and the augmented rows; and the anchors' item numbers."""
    settings = {"augment": augment, "through_tower": through_tower, **settings}
    objective, batch, reps = step({"fea": settings})
    task = objective.tasks["fea"].train(train)
    seen: list[torch.Tensor] = []
    task.project.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach()))
    loss = task(batch, reps)
    dropped, clean = seen
    projected = [[task.project(x).detach() for x in side] for side in (clean, dropped)]
    pool, terms = task._pool(batch).tolist(), []
    g = cos if task.config.cosine else dot
    for i, anchor in enumerate(projected[0]):
        others = [g(anchor, projected[1][j]) / task.config.tau for j in pool if j != i]
        terms.append(ratio(g(anchor, projected[1][i]) / task.config.tau, others, task.config.literal))
    assert loss.item() == pytest.approx(average(terms), rel=1e-4)
    return objective, clean, dropped, batch.items[batch.item_anchor].tolist()


def subsets(places: list[int]) -> list[tuple[int, ...]]:
    """All but the empty one."""
    return list(chain.from_iterable(combinations(places, n) for n in range(1, len(places) + 1)))


@pytest.mark.parametrize("settings", [{}, {"cosine": True, "tau": 0.3}, {"literal": True, "negatives": 3}])
def test_field_dropout_puts_zeros_in_the_place_of_whole_fields(settings: dict) -> None:
    _, clean, dropped, _ = sides("field", False, **settings)
    patterns = Counter()
    for row, less in zip(
        clean.view(len(clean), len(FIELDS), -1), dropped.view(len(clean), len(FIELDS), -1), strict=True
    ):
        kept = [f for f in range(len(FIELDS)) if torch.equal(row[f], less[f])]
        assert all(not less[f].any() for f in range(len(FIELDS)) if f not in kept)
        assert any(less[f].any() for f in kept) or not row.any()
        patterns[tuple(kept)] += 1
    assert len(patterns) > 2


def test_field_dropout_through_the_tower_reads_fields_as_missing() -> None:
    """Each augmented vector is the tower's sum over some of the item's own fields and "missing" for the others."""
    objective, clean, dropped, numbers = sides("field", True)
    towers, fields = objective.towers, objective.fields["item"]
    own = towers.items(take(fields, torch.tensor(numbers)))
    missing = own.fields[-1]
    torch.testing.assert_close(clean, own.vectors[:-1])
    found = []
    for k, less in enumerate(dropped):
        choices = [
            kept
            for kept in subsets(list(range(len(FIELDS))))
            if torch.allclose(
                sum(own.fields[k, f] if f in kept else missing[f] for f in range(len(FIELDS))), less, atol=1e-5
            )
        ]
        assert choices
        found.append(choices[0])
    assert len(set(found)) > 2


@pytest.mark.parametrize("through_tower", [False, True])
def test_categorical_dropout_pools_fewer_values_of_multi_valued_fields(through_tower: bool) -> None:
    objective, clean, dropped, numbers = sides("categorical", through_tower)
    towers, fields = objective.towers, objective.fields["item"]
    own = towers.items(take(fields, torch.tensor(numbers))).fields
    table, tags = towers.item_fields.embed[FIELDS.index("tags")].weight, fields["tags"]
    fewer = 0
    for k, item in enumerate(numbers):
        codes = tags.values[tags.offsets[item] : tags.offsets[item + 1]].tolist()
        rest = own[k].clone()
        options = []
        for some in subsets(codes) or [(0,)]:
            rest[FIELDS.index("tags")] = torch.stack([table[c] for c in some]).mean(0)
            options.append((some, rest.sum(0) if through_tower else rest.flatten().clone()))
        matches = [some for some, vector in options if torch.allclose(vector, dropped[k], atol=1e-5)]
        assert matches, (item, codes)
        fewer += len(matches[0]) < len(codes)
    assert 0 < fewer < len(numbers)


def test_element_dropout_through_the_tower_acts_in_training_only() -> None:
    _, clean, same, _ = sides("element", True)
    torch.testing.assert_close(clean, same)
    assert clean.shape[1] == 8
    _, clean, other, _ = sides("element", True, train=True)
    assert not torch.isclose(clean, other).all(1).any()


def test_categorical_dropout_needs_a_multi_valued_field() -> None:
    towers = TwoTower(ModelConfig(dim=8, item_fields=("item_id", "category")), item_fields(6), user_fields(3))
    with pytest.raises(ConfigError, match="multi-valued") as caught:
        TASKS["fea"].make(FeatureConfig(augment="categorical"), towers, item_fields(6))
    assert caught.value.argument == "tasks.fea.augment"


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(1, 5), max_size=5), min_size=1, max_size=6), st.floats(0, 0.99))
def test_some_values_of_every_node_stay(rows: list[list[int]], mask_ratio: float) -> None:
    field, sample = multi("tags", rows, 6), torch.arange(len(rows)) + 7
    less = drop_values(field, 3, sample, mask_ratio)
    assert less.offsets is not None and len(less) == len(rows)
    for k, row in enumerate(rows):
        kept = less.values[less.offsets[k] : less.offsets[k + 1]].tolist()
        assert bool(kept) == bool(row)
        left = iter(row)
        assert all(code in left for code in kept), "in their order"
        alone = drop_values(multi("tags", [row], 6), 3, sample[k : k + 1], mask_ratio)
        assert alone.values.tolist() == kept, "whatever else is in the batch"


def test_rates() -> None:
    sample = torch.arange(3000)
    field = multi("tags", [[1, 2, 3, 4, 5, 1, 2, 3]] * 3000, 6)
    assert len(drop_values(field, 1, sample, 0.3).values) / len(field.values) == pytest.approx(0.7, abs=0.01)
    assert torch.equal(drop_values(field, 1, sample, 0.0).values, field.values)
    keep = keep_some(1, sample, 2, 0.5)  # both go in a quarter of the rows: there one stays
    assert keep.any(1).all() and keep.double().mean() == pytest.approx(0.5 + 0.125, abs=0.02)
    assert keep_some(1, sample, 4, 0.0).all() and keep_some(1, sample, 4, 0.999).sum(1).float().mean() < 1.1


def masked(kind: str, names: tuple[str, ...], n: int = 12) -> MaskedCL:
    fields = item_fields(n)
    towers = TwoTower(ModelConfig(dim=8, item_fields=names), fields, user_fields(3))
    return TASKS[kind].make(MaskingConfig(), towers, fields)


def hidden(task: MaskedCL, keys: int = 200) -> Counter:
    drawn = (task.hidden(key, torch.device("cpu")) for key in range(keys))
    return Counter(tuple(h.nonzero()[:, 0].tolist()) for h in drawn)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_rfm_hides_every_half_alike(count: int) -> None:
    found = hidden(masked("rfm", FIELDS[:count]))
    assert set(found) == set(combinations(range(count), count // 2))
    assert min(found.values()) > 200 / len(found) / 3


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_cfm_hides_a_seed_with_its_most_correlated_fields(count: int) -> None:
    task = masked("cfm", FIELDS[:count])
    told = torch.rand(count, count, generator=torch.Generator().manual_seed(count))
    task.correlation.copy_(told)
    most = min(count // 2, count - 2)
    expected = set()
    for seed in range(count):
        others = sorted((f for f in range(count) if f != seed), key=lambda f: -told[seed, f])
        expected.add(tuple(sorted([seed, *others[:most]])))
    assert set(hidden(task)) == expected


def test_cfm_breaks_ties_at_random() -> None:
    """The id tells nothing of any field, so that with it as seed any other may be hidden."""
    task = masked("cfm", FIELDS[:3])
    task.correlation.zero_()
    assert set(hidden(task)) == {(0, 1), (0, 2), (1, 2)}


@pytest.mark.parametrize("kind", ["rfm", "cfm"])
def test_masked_views_are_complementary_and_contrast_in_the_batch(kind: str) -> None:
    objective, batch, reps = step({kind: {"tau": 0.4}}, encoder="ican", item_hidden=(6,))
    task, towers = objective.tasks[kind], objective.towers
    hide = task.hidden(batch.key, torch.device("cpu")).tolist()
    anchors = batch.items[batch.item_anchor]
    nobody = torch.full_like(anchors, -1)
    views = []
    for absent in (True, False):
        fields = {
            name: one.take(nobody if hide[FIELDS.index(name)] is absent else anchors)
            for name, one in objective.fields["item"].items()
        }
        views.append(towers.items(fields).vectors[:-1].detach())
    terms = []
    for i, x in enumerate(views[0]):
        others = [cos(x, y) / 0.4 for j, y in enumerate(views[1]) if j != i]
        terms.append(ratio(cos(x, views[1][i]) / 0.4, others))
    with torch.no_grad():
        assert task(batch, reps).item() == pytest.approx(average(terms), rel=1e-4)


@pytest.mark.parametrize("kind", ["rfm", "cfm"])
def test_masking_needs_two_fields(kind: str) -> None:
    with pytest.raises(ConfigError, match="two item fields"):
        masked(kind, ("item_id",))


def test_what_fields_tell_about_each_other_is_saved_with_the_weights() -> None:
    objective, _, _ = step({"cfm": {}, "rfm": {}})
    state = objective.state_dict()
    assert {name for name in state if name.startswith("tasks.")} == {"tasks.cfm.correlation"}
    assert state["tasks.cfm.correlation"].any()
    fresh, _, _ = step({"cfm": {}, "rfm": {}})
    fresh.load_state_dict({**state, "tasks.cfm.correlation": torch.ones(5, 5)})
    assert fresh.tasks["cfm"].correlation.eq(1).all()


def test_masked_tasks_train_the_towers() -> None:
    for kind in ("rfm", "cfm"):
        objective, batch, _ = step({kind: {}})
        objective(batch)[0].backward()
        assert all(layer.weight.grad is not None for layer in objective.towers.item_fields.embed)


def test_dropped_fields_keep_their_own_names_apart() -> None:
    """Two fields with equal lists lose different values: their lots differ by name."""
    fields = item_fields(40)
    twin: Field = replace(fields["tags"], name="twin")
    _, batch, reps = step({"fea": {}})
    towers = TwoTower(ModelConfig(dim=8, item_fields=("tags", "twin")), {**fields, "twin": twin}, user_fields(3))
    made = TASKS["fea"].make(FeatureConfig(augment="categorical"), towers, {**fields, "twin": twin})
    towers.item_fields.embed[1].load_state_dict(towers.item_fields.embed[0].state_dict())
    seen = made._dropped(batch, reps).view(-1, 2, 8)
    assert not torch.allclose(seen[:, 0], seen[:, 1])


def test_rfm_star_is_the_feature_task() -> None:
    assert expand(["rfm_star", "sess"]) == ["fea", "sess"]
    assert contract(["matching", "fea"]) == ["fea"]
