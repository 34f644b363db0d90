"""Batches against plain loops over the users' clicks: no leakage, nothing twice, the same however they are made."""

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
from tests.toy import Rows, pair_counts, random_rows, toy_graph

N_ITEMS = 7
EVERYTHING = [
    Requires(negatives=("uniform", 5), target_mask="negatives"),
    Requires(negatives=("popularity", 6), target_mask="negatives"),
    Requires(target_mask="batch"),
    Requires(negatives=("uniform", 5), positives="similar", block="neighbours"),
    Requires(negatives=("uniform", 9), positives="co_occurs", block="drawn"),
    Requires(item_anchors=True, item_view=True, query_view=True),
]

click = st.tuples(st.integers(0, 12), st.integers(0, N_ITEMS - 1))
user_rows = st.lists(
    st.lists(click, max_size=9).map(lambda row: sorted(row, key=lambda c: c[0])), min_size=1, max_size=5
)
histories = st.integers(1, 5)


def sampler(
    rows: Rows, requires: list[Requires] | None = None, history: int = 3, seed: int = 0, **config
) -> BatchSampler:
    return BatchSampler(toy_graph(rows, N_ITEMS), SamplingConfig(**config), requires or [], history, seed)


def epoch(made: BatchSampler, number: int = 0) -> list[Batch]:
    order = made.order(number)
    return [made.batch(number, step, order) for step in range(made.steps)]


def flat(rows: Rows) -> list[tuple[int, int, int]]:
    """(user, place in the user's row, item) of every click, by edge offset."""
    return [(user, place, item) for user, row in enumerate(rows) for place, (_, item) in enumerate(row)]


def start(rows: Rows, user: int) -> int:
    return sum(len(row) for row in rows[:user])


def read(batch: Batch, line: int, until: int | None = None) -> list[int]:
    """Global items of one history, up to and with position ``until``."""
    length = int(batch.mask[line].sum())
    assert batch.mask[line, :length].all() and (batch.history[line, length:] == -1).all()
    upto = length if until is None else until + 1
    return batch.items[batch.history[line, :upto]].tolist()


def allowed(row: list[tuple[int, int]], place: int, strict: bool) -> list[int]:
    """What may be read before the click at ``place``."""
    return [item for k, (time, item) in enumerate(row[:place]) if not strict or time < row[place][0]]


@settings(max_examples=40)
@given(user_rows, histories, st.booleans(), st.integers(0, 3))
def test_clicks_visits_each_click_once_with_the_clicks_before_it(
    rows: Rows, history: int, strict: bool, least: int
) -> None:
    expected = {}
    for offset, (user, place, item) in enumerate(flat(rows)):
        before = allowed(rows[user], place, strict)
        if len(before) >= least:
            expected[offset] = (user, item, before[-history:])
    if not expected:
        with pytest.raises(ConfigError, match="min_history"):
            sampler(rows, strict=strict, min_history=least, history=history)
        return
    made = sampler(rows, strict=strict, min_history=least, history=history, batch_size=4)
    found = {}
    for batch in epoch(made):
        assert batch.pair_at is None and batch.pair_row.tolist() == list(range(len(batch)))
        for line in range(len(batch)):
            offset = int(batch.sample[line])
            assert offset not in found
            found[offset] = (int(batch.user[line]), int(batch.items[batch.target[line]]), read(batch, line))
    assert found == expected


@settings(max_examples=40)
@given(user_rows, histories, st.booleans(), st.integers(1, 3))
def test_positions_reads_the_clicks_of_the_piece_that_are_early_enough(
    rows: Rows, history: int, strict: bool, least: int
) -> None:
    expected: Counter[tuple[int, int, tuple[int, ...]]] = Counter()
    for user, row in enumerate(rows):
        for end in range(len(row), least, -history):  # pieces of history + 1 clicks, from the last one back
            for place in range(max(end - history, 1), end):
                before = allowed(row, place, strict)
                seen = before[max(end - history - 1, 0) :]
                if seen and len(before) >= least:
                    expected[user, row[place][1], tuple(seen)] += 1
    if not expected:
        with pytest.raises(ConfigError, match="min_history"):
            sampler(rows, samples="positions", strict=strict, history=history, min_history=least)
        return
    made = sampler(rows, samples="positions", strict=strict, history=history, min_history=least, batch_size=3)
    found: Counter[tuple[int, int, tuple[int, ...]]] = Counter()
    for batch in epoch(made):
        assert batch.pair_at is not None
        assert set(batch.pair_row.tolist()) == set(range(len(batch))), "no piece without a target takes up a place"
        targets = batch.items[batch.target].tolist()
        for line, at, item in zip(batch.pair_row.tolist(), batch.pair_at.tolist(), targets, strict=True):
            found[int(batch.user[line]), item, tuple(read(batch, line, at))] += 1
    assert found == expected


@settings(max_examples=40)
@given(user_rows, histories, st.integers(0, 3))
def test_positions_visits_each_click_once_after_the_clicks_before_it(rows: Rows, history: int, least: int) -> None:
    expected = Counter(offset for offset, (_, place, _) in enumerate(flat(rows)) if place >= max(least, 1))
    if not expected:
        with pytest.raises(ConfigError, match="min_history"):
            sampler(rows, samples="positions", strict=False, history=history, min_history=least)
        return
    made = sampler(rows, samples="positions", strict=False, history=history, min_history=least, batch_size=3)
    found: Counter[int] = Counter()
    for batch in epoch(made):
        assert batch.pair_at is not None
        for pair, (line, at) in enumerate(zip(batch.pair_row.tolist(), batch.pair_at.tolist(), strict=True)):
            user, seen = int(batch.user[line]), read(batch, line, at)
            end = int(batch.sample[line]) - start(rows, user)
            place = end - int(batch.mask[line].sum()) + at
            assert seen == [item for _, item in rows[user][place - at - 1 : place]]
            assert int(batch.items[batch.target[pair]]) == rows[user][place][1]
            found[start(rows, user) + place] += 1
    assert found == expected


@settings(max_examples=40)
@given(user_rows, st.booleans(), st.integers(0, 3))
def test_users_visits_each_user_once_at_a_click_with_enough_before_it(rows: Rows, strict: bool, least: int) -> None:
    choices = {}
    for user, row in enumerate(rows):
        options = [place for place in range(len(row)) if len(allowed(row, place, strict)) >= least]
        if options:
            choices[user] = [(row[p][1], allowed(row, p, strict)[-3:]) for p in options]
    if not choices:
        with pytest.raises(ConfigError, match="min_history"):
            sampler(rows, samples="users", strict=strict, min_history=least)
        return
    made = sampler(rows, samples="users", strict=strict, min_history=least, batch_size=2)
    found = {}
    for batch in epoch(made):
        for line in range(len(batch)):
            assert int(batch.user[line]) not in found
            found[int(batch.user[line])] = (int(batch.items[batch.target[line]]), read(batch, line))
    assert set(found) == set(choices)
    assert all(found[user] in choices[user] for user in found)


def test_users_draws_every_cut_over_the_epochs() -> None:
    rows = [[(t, t % N_ITEMS) for t in range(6)]]
    made = sampler(rows, samples="users", min_history=2)
    drawn = Counter(int(made.batch(e, 0).items[made.batch(e, 0).target[0]]) for e in range(300))
    assert set(drawn) == {2, 3, 4, 5} and min(drawn.values()) > 40


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


@pytest.mark.parametrize("samples", ["clicks", "positions"])
def test_later_clicks_never_change_earlier_samples(samples: str) -> None:
    """Rewriting what users do after time 20 leaves every sample whose target comes earlier as it was."""
    rows = random_rows(n_items=N_ITEMS, seed=3)
    changed = [[(t, i if t <= 20 else (i + 1) % N_ITEMS) for t, i in row] for row in rows]

    def early(log: Rows) -> dict[tuple[int, int], tuple[int, list[int]]]:
        found = {}
        for batch in epoch(sampler(log, samples=samples, history=50, batch_size=3)):
            for pair, line in enumerate(batch.pair_row.tolist()):
                user = int(batch.user[line])
                at = None if batch.pair_at is None else int(batch.pair_at[pair])
                seen = read(batch, line, at)
                place = int(batch.sample[line]) - start(log, user) if at is None else at + 1
                if log[user][place][0] <= 20:
                    found[user, place] = (int(batch.items[batch.target[pair]]), seen)
        return found

    assert early(rows) == early(changed) and len(early(rows)) > 5


def test_order_is_a_permutation_that_differs_between_epochs() -> None:
    made = sampler(random_rows(n_items=N_ITEMS), batch_size=4)
    orders = [made.order(e).tolist() for e in range(3)]
    assert all(sorted(order) == list(range(len(made.samples))) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert made.steps == -(-len(made.samples) // 4)


def test_a_missing_relation_is_named() -> None:
    graph = toy_graph([[(0, 1), (5, 2)]], N_ITEMS)
    del graph.relations["similar"]
    with pytest.raises(ConfigError, match="similar"):
        BatchSampler(graph, SamplingConfig(), [Requires(negatives=("uniform", 5), positives="similar")])


@settings(max_examples=30)
@given(user_rows, histories, st.sampled_from(["clicks", "positions"]), st.booleans(), st.integers(2, 6))
def test_a_window_holds_the_target_and_the_users_clicks_after_it(
    rows: Rows, history: int, samples: str, strict: bool, size: int
) -> None:
    """Also beyond the piece, and with basket-mates of the target; a shorter window is a part of the longest one."""
    try:
        requires = [Requires(window=size), Requires(window=2)]
        made = sampler(rows, requires, samples=samples, strict=strict, history=history, batch_size=3)
    except ConfigError:
        return
    for batch in epoch(made):
        assert batch.window is not None and batch.window.shape == (len(batch.target), size)
        for pair, line in enumerate(batch.pair_row.tolist()):
            row = [item for _, item in rows[int(batch.user[line])]]
            window = [int(batch.items[i]) if i >= 0 else None for i in batch.window[pair].tolist()]
            starts = [k for k in range(len(row)) if row[k : k + size] + [None] * (size - len(row[k:])) == window]
            assert starts and window[0] == int(batch.items[batch.target[pair]])
            assert not strict or any(allowed(rows[int(batch.user[line])], k, True) for k in starts)


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


def test_pieces_of_like_length_share_a_batch_and_no_place_is_padded_in_all_of_them() -> None:
    lengths = [2, 3, 5, 9, 17, 30] * 40
    rows = [[(t, t % N_ITEMS) for t in range(n)] for n in lengths]
    made = sampler(rows, samples="positions", history=16, batch_size=10)
    for number in range(2):
        assert sorted(made.order(number).tolist()) == list(range(len(made.samples)))
        batches = epoch(made, number)
        assert all(batch.mask.any(0).all() for batch in batches)
        places = sum(batch.mask.numel() for batch in batches)
        assert sum(int(batch.mask.sum()) for batch in batches) > 0.8 * places
        widths = [batch.mask.shape[1] for batch in batches]
        assert widths != sorted(widths), "short pieces do not come first"
    assert made.order(0).tolist() != made.order(1).tolist()


def test_the_batch_that_is_not_full_holds_pieces_of_any_length() -> None:
    """It comes last in every epoch: the longest pieces, which a sorted pool ends with, would always be its own."""
    rows = [[(t, t % N_ITEMS) for t in range(2 + n)] for n in range(24)]
    made = sampler(rows, samples="positions", history=40, batch_size=5)
    assert len(made.samples) == 24 and made.steps == 5
    last = [made.order(number)[20:].tolist() for number in range(40)]
    assert {piece for four in last for piece in four} == set(range(24))


@settings(max_examples=30)
@given(user_rows, histories, st.sampled_from(["clicks", "positions", "users"]))
def test_gaps_are_those_to_the_users_click_before(rows: Rows, history: int, samples: str) -> None:
    try:
        made = sampler(rows, samples=samples, strict=False, history=history, batch_size=3, untimed=0)
    except ConfigError:
        return
    for batch in epoch(made):
        assert (batch.gap[~batch.mask] == -1).all()
        for line, user in enumerate(batch.user.tolist()):
            row, found = rows[user], batch.gap[line][batch.mask[line]].tolist()
            whole = [-1] + [b[0] - a[0] for a, b in zip(row, row[1:], strict=False)]
            items = read(batch, line)
            fits = [k for k in range(len(row)) if [i for _, i in row[k : k + len(items)]] == items]
            assert any(whole[k : k + len(items)] == found for k in fits)


@pytest.mark.parametrize("samples", ["clicks", "positions", "users"])
def test_one_basket_a_user_is_nothing_to_train_on(samples: str) -> None:
    baskets = [[(9, item) for item in range(4)], [(3, 1), (3, 2)]]
    with pytest.raises(ConfigError, match="min_history.*earlier seconds"):
        sampler(baskets, samples=samples)
    assert len(sampler(baskets, samples=samples, strict=False).samples)


def test_some_histories_are_read_without_their_gaps_whatever_the_batch() -> None:
    rows = [[(7 * t, t % N_ITEMS) for t in range(4)] for _ in range(300)]
    share = {0.0: (0, 0), 0.3: (60, 120), 1.0: (300, 300)}
    for untimed, (least, most) in share.items():
        made = sampler(rows, samples="positions", history=3, batch_size=300, untimed=untimed)
        batch = made.batch(0, 0)
        hidden = (batch.gap == -1).all(1)
        assert least <= int(hidden.sum()) <= most
        assert batch.gap[~hidden].tolist() == [[-1, 7, 7]] * int((~hidden).sum())
    assert made.config.untimed == 1 and SamplingConfig().untimed == 0.1


def test_gaps_that_nobody_reads_are_not_made() -> None:
    graph, config = toy_graph(random_rows(n_items=N_ITEMS), N_ITEMS), SamplingConfig(batch_size=4)
    with_gaps, without = (BatchSampler(graph, config, [Requires(other_stretch=True)], 3, gaps=g) for g in (True, False))
    told, silent = with_gaps.batch(0, 0), without.batch(0, 0)
    assert silent.gap is None and silent.other_gap is None and told.gap is not None and told.other_gap is not None
    assert torch.equal(told.history, silent.history) and torch.equal(told.other, silent.other)  # type: ignore[arg-type]
