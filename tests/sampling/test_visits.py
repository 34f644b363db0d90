"""Which clicks the queries of a batch stand for, and what each reads: nothing twice, nothing left out or to come."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Requires
from micgraph.sampling.samples import SamplingConfig
from micgraph.schema import ConfigError
from tests.sampling.batches import N_ITEMS, epoch, flat, read, sampler, user_rows
from tests.toy import Rows, random_rows, toy_graph

histories = st.integers(1, 5)


def start(rows: Rows, user: int) -> int:
    return sum(len(row) for row in rows[:user])


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


@pytest.mark.parametrize("samples", ["clicks", "users"])
def test_who_shares_a_batch_is_random_and_its_samples_are_in_the_order_of_the_graph(samples: str) -> None:
    made = sampler(random_rows(30, 7), samples=samples, batch_size=6)
    companies = []
    for number in range(3):
        batches = made.order(number).split(6)
        assert torch.cat(batches).sort().values.tolist() == list(range(len(made.samples)))
        assert all(batch.tolist() == sorted(batch.tolist()) for batch in batches)
        assert len(batches) > 2 and [int(batch[0]) for batch in batches] != sorted(int(batch[0]) for batch in batches)
        companies.append({frozenset(batch.tolist()) for batch in batches})
    assert not companies[0] & companies[1] and not companies[1] & companies[2]


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
