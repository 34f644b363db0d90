"""Batches against plain loops: their anchors, positives and masks, the same however they are made."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields as attributes

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Batch, Requires
from micgraph.sampling.samples import SamplingConfig
from micgraph.schema import ConfigError
from tests.sampling.batches import N_ITEMS, epoch, flat, read, sampler, user_rows
from tests.toy import Rows, pair_counts, random_rows, toy_graph

EVERYTHING = [
    Requires(negatives=("uniform", 5), target_mask="negatives"),
    Requires(negatives=("popularity", 6), target_mask="negatives"),
    Requires(target_mask="batch"),
    Requires(negatives=("uniform", 5), positives="similar", block="neighbours"),
    Requires(negatives=("uniform", 9), positives="co_occurs", block="drawn"),
    Requires(item_anchors=True, item_view=True, query_view=True),
]


@pytest.mark.parametrize("samples", ["clicks", "positions", "users"])
def test_anchors_are_one_pair_of_every_query_that_has_any(samples: str) -> None:
    made = sampler(random_rows(n_items=N_ITEMS), samples=samples, batch_size=4, min_history=2)
    for batch in epoch(made):
        chosen = batch.pair_row[batch.anchor].tolist()
        assert chosen == sorted(set(batch.pair_row.tolist()))


def test_some_pairs_of_every_query_can_be_anchors() -> None:
    made = sampler(random_rows(n_items=N_ITEMS), samples="positions", batch_size=4, anchors_per_query=3)
    most = 0
    for batch in epoch(made):
        chosen = Counter(batch.pair_row[batch.anchor].tolist())
        pairs = Counter(batch.pair_row.tolist())
        assert set(chosen) == set(pairs) and all(n <= min(3, pairs[row]) for row, n in chosen.items())
        assert len(set(batch.anchor.tolist())) == len(batch.anchor)
        most = max(most, *chosen.values())
    assert most > 1


@pytest.mark.parametrize("samples", ["clicks", "positions", "users"])
def test_local_numbers_stand_for_the_right_items(samples: str) -> None:
    rows = random_rows(n_items=N_ITEMS)
    made = sampler(rows, EVERYTHING, samples=samples, batch_size=5)
    popularity = Counter(item for row in rows for _, item in row)
    total = sum(popularity.values())
    for batch in epoch(made):
        items = batch.items.tolist()
        assert items == sorted(set(items)) and items[0] >= 0 and items[-1] < N_ITEMS
        read_items = {i for line in range(len(batch)) for i in read(batch, line)}
        targets = {items[i] for i in batch.target.tolist()}
        drawn = {items[i] for shared in batch.negatives.values() for i in shared.item.tolist()}
        drawn |= {items[int(i)] for p in batch.positives.values() for i in p.item}
        assert set(items) == read_items | targets | drawn, "each item that is read is encoded, and no other"
        assert {items[i] for i in batch.distinct_target.tolist()} == targets
        assert torch.equal(batch.distinct_target[batch.target_place], batch.target)
        assert batch.item_anchor.tolist() == batch.distinct_target.tolist()
        want = torch.tensor([popularity[i] / total for i in items]).log()
        torch.testing.assert_close(batch.log_popularity, want)


def test_a_full_softmax_encodes_the_whole_catalogue_in_order() -> None:
    made = sampler([[(0, 1), (5, 2)]], [Requires(full=True)])
    assert made.batch(0, 0).items.tolist() == list(range(N_ITEMS))


@pytest.mark.parametrize("samples", ["clicks", "positions", "users"])
def test_masks_and_positives_are_exact(samples: str) -> None:
    rows = random_rows(n_items=N_ITEMS)
    made = sampler(rows, EVERYTHING, samples=samples, batch_size=5, max_anchors=4)
    clicked = {(user, item) for user, place, item in flat(rows)}
    graph = made.graph
    linked = {
        name: {(int(r), int(c)) for r, c in zip(rel.row_index(), rel.col, strict=True)}
        for name, rel in graph.relations.items()
        if name != "clicks"
    }
    assert linked["co_occurs"] == set(pair_counts(rows))
    for batch in epoch(made):
        users, items = batch.user.tolist(), batch.items
        assert set(batch.clicked) == set(batch.negatives) - {("uniform", 9)}
        for kind, mask in batch.clicked.items():
            drawn = items[batch.negatives[kind].item].tolist()
            assert len(drawn) == kind[1]
            assert mask.tolist() == [[(u, i) in clicked for i in drawn] for u in users]
        distinct = items[batch.distinct_target].tolist()
        assert batch.target_clicked is not None
        assert batch.target_clicked.tolist() == [[(u, i) in clicked for i in distinct] for u in users]
        anchors = items[batch.item_anchor].tolist()
        assert len(anchors) == min(len(distinct), 4) and set(anchors) <= set(distinct)
        for name, count, every in (("similar", 5, True), ("co_occurs", 9, False)):
            positives, drawn = batch.positives[name], items[batch.negatives["uniform", count].item].tolist()
            for k, anchor in enumerate(anchors):
                degree = sum(a == anchor for a, _ in linked[name])
                assert bool(positives.valid[k]) == (degree > 0)
                positive = int(items[positives.item[k]])
                assert not degree or (anchor, positive) in linked[name]
                if degree:
                    want = [i in (anchor, positive) or (every and (anchor, i) in linked[name]) for i in drawn]
                    assert positives.blocked[k].tolist() == want


@pytest.mark.parametrize("max_anchors", [3, 100])
@pytest.mark.parametrize("samples", ["clicks", "positions", "users"])
def test_uniform_anchors_come_from_the_whole_catalogue(samples: str, max_anchors: int) -> None:
    """Also items that nobody has clicked; one without neighbours is invalid, the others have one of their own."""
    rows = [[(t, i % 4) for t, i in row] for row in random_rows(n_items=N_ITEMS)]
    graph = toy_graph(rows, 12)
    made = BatchSampler(
        graph, SamplingConfig(samples=samples, batch_size=5, anchors="uniform", max_anchors=max_anchors), EVERYTHING, 3
    )
    linked = pair_counts(rows)
    seen: Counter[int] = Counter()
    valid = 0
    for number in range(20):
        for batch in epoch(made, number):
            anchors = batch.items[batch.item_anchor].tolist()
            assert anchors == sorted(set(anchors))
            assert 1 <= len(anchors) <= min(len(batch.distinct_target), max_anchors)
            seen.update(anchors)
            drawn = batch.positives["co_occurs"]
            for k, anchor in enumerate(anchors):
                assert bool(drawn.valid[k]) == any(a == anchor for a, _ in linked)
                valid += bool(drawn.valid[k])
                assert not drawn.valid[k] or (anchor, int(batch.items[drawn.item[k]])) in linked
    assert valid and chisquare([seen[i] for i in range(12)]).pvalue > 0.001


def test_one_relation_blocks_neighbours_for_every_task_that_asks_for_it() -> None:
    rows = random_rows(n_items=N_ITEMS)
    plain = Requires(negatives=("uniform", 30), positives="co_occurs", block="drawn")
    literal = Requires(negatives=("uniform", 30), positives="co_occurs", block="neighbours")
    least, most = (sampler(rows, [need]).batch(0, 0).positives["co_occurs"].blocked for need in (plain, literal))
    assert (most | ~least).all() and most.sum() > least.sum()


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and set(a) == set(b) and all(same(a[key], b[key]) for key in a)
    if hasattr(a, "__dataclass_fields__"):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in attributes(a))  # type: ignore[arg-type]
    return a == b


@pytest.mark.parametrize("samples", ["clicks", "positions", "users"])
def test_a_batch_is_a_function_of_graph_config_seed_epoch_and_step(samples: str) -> None:
    rows = random_rows(n_items=N_ITEMS)
    one, two = (sampler(rows, EVERYTHING, samples=samples, batch_size=4, max_anchors=2) for _ in range(2))
    epoch(one, 0)  # drawing others before changes nothing
    torch.manual_seed(99)
    assert same(one.batch(3, 1), two.batch(3, 1)) and same(one.batch(3, 1), one.batch(3, 1, one.order(3)))
    other = sampler(rows, EVERYTHING, samples=samples, batch_size=4, max_anchors=2, seed=1)
    assert not same(one.batch(3, 1), one.batch(4, 1)) and not same(one.batch(3, 1), other.batch(3, 1))


@pytest.mark.parametrize("samples", ["clicks", "positions", "users"])
def test_what_is_chosen_for_a_sample_does_not_depend_on_its_batch(samples: str) -> None:
    rows = random_rows(n_items=N_ITEMS)

    def choices(batch_size: int) -> dict[int, tuple]:
        found = {}
        for batch in epoch(sampler(rows, [], samples=samples, batch_size=batch_size), 2):
            targets = batch.items[batch.target[batch.anchor]].tolist()
            for line, target in zip(batch.pair_row[batch.anchor].tolist(), targets, strict=True):
                found[int(batch.sample[line])] = (int(batch.user[line]), target, tuple(read(batch, line)))
        return found

    assert choices(1) == choices(4) == choices(100)


def test_an_anchor_item_draws_the_same_positive_whatever_else_is_in_the_batch() -> None:
    rows = random_rows(n_items=N_ITEMS)
    made = sampler(rows, EVERYTHING, batch_size=6)
    order = made.order(0)

    def drawn(batch: Batch) -> dict[int, int]:
        anchors, positives = batch.items[batch.item_anchor].tolist(), batch.positives["co_occurs"]
        chosen = batch.items[positives.item].tolist()
        return {a: p for a, p, valid in zip(anchors, chosen, positives.valid.tolist(), strict=True) if valid}

    whole, turned = drawn(made.batch(0, 0, order)), drawn(made.batch(0, 0, order.roll(-3)))
    shared = set(whole) & set(turned)
    assert shared and all(whole[a] == turned[a] for a in shared)


def test_a_missing_relation_is_named() -> None:
    graph = toy_graph([[(0, 1), (5, 2)]], N_ITEMS)
    del graph.relations["similar"]
    with pytest.raises(ConfigError, match="similar"):
        BatchSampler(graph, SamplingConfig(), [Requires(negatives=("uniform", 5), positives="similar")])


@settings(max_examples=30)
@given(user_rows, st.sampled_from(["clicks", "positions"]))
def test_clicked_items_are_told_of_the_whole_catalogue(rows: Rows, samples: str) -> None:
    try:
        made = sampler(rows, [Requires(full=True, target_mask="items")], samples=samples, batch_size=3)
    except ConfigError:
        return
    for batch in epoch(made):
        for line, user in enumerate(batch.user.tolist()):
            clicked = {item for _, item in rows[user]}
            assert batch.item_clicked[line].tolist() == [i in clicked for i in batch.items.tolist()]
