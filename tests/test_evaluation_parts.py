"""Figures over parts of the clicks: cold items and users, deciles of popularity; and diversity of lists."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.evaluation import DECILES, evaluate_ranker, prepare
from micgraph.evaluation.popularity import deciles
from micgraph.graph.build_config import BuildConfig
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.split import Holdout
from micgraph.schema import InputError
from tests.small_evaluation import Fixed, log_of


def test_cold_items_and_users_are_those_with_fewer_than_five_clicks():
    """Item cN has N clicks; nobody can rank c9, which is unknown."""
    events = [(f"fan{n}", f"c{i}", 10 * i + n) for i in range(1, 7) for n in range(i)]
    graph = build(log_of(events), BuildConfig(semantic=[]))
    past = [("new", "c6", 1), ("old", "c5", 1), *(("old", f"c{i}", i) for i in range(1, 5))]
    later = [("new", "c4", 900), ("new", "c5", 901), ("old", "c4", 902), ("old", "c6", 903), ("old", "c9", 904)]
    data = prepare(Holdout(log_of([*events, *past]), log_of([*later, ("nobody", "c3", 905)]), {}), graph)
    number = {item: at for at, item in enumerate(graph.items.values.to_pylist())}
    result = evaluate_ranker(Fixed([number["c4"], number["c6"]]), data, [1, 2], filter_seen=False)
    assert [result[f"hit_cold_items@{k}"] for k in (1, 2)] == pytest.approx([2 / 3, 2 / 3])  # c4, c4, c3
    assert [result[f"hit_cold_users@{k}"] for k in (1, 2)] == pytest.approx([1 / 3, 1 / 3])  # new's two, nobody's one
    assert [result[f"hit@{k}"] for k in (1, 2)] == pytest.approx([2 / 6, 3 / 6])
    value, weight = result.column("hit_cold_items@1")
    assert dict(zip(data.user_ids.to_pylist(), weight.tolist(), strict=True)) == {"new": 1, "nobody": 1, "old": 1}
    assert float((value * weight).sum()) == 2


def decile_of(item, clicks):
    """The tenth in which the middle of the item's own clicks lies, the clicks of rarer items standing before them."""
    before = sum(c for i, c in enumerate(clicks) if (c, i) < (clicks[item], item))
    return 0 if not clicks[item] else math.floor(10 * (before + clicks[item] / 2) / sum(clicks))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_a_decile_is_where_the_middle_of_an_items_clicks_lies(clicks):
    got = deciles(torch.tensor(clicks))
    assert got.tolist() == [decile_of(item, clicks) for item in range(len(clicks))]
    held = torch.bincount(got, torch.tensor(clicks, dtype=torch.float64), minlength=10).cumsum(0)
    for number in range(10):  # what stands up to a decile's end differs from its share by less than one item
        assert abs(float(held[number]) - sum(clicks) * (number + 1) / 10) <= max(clicks) / 2


def test_hits_by_decile_are_those_of_a_loop_over_clicks():
    rng = np.random.default_rng(3)
    share = 1 / np.arange(1, 41) ** 0.5
    drawn = rng.choice(40, 900, p=share / share.sum())
    train = [(f"u{n % 30}", f"i{i}", n) for n, i in enumerate(drawn)]
    later = [(f"u{u}", f"i{i}", 5000 + n) for n, (u, i) in enumerate(rng.integers(0, [25, 50], (400, 2)))]
    graph = build(log_of(train), BuildConfig(semantic=[]))
    data = prepare(Holdout(log_of(train), log_of(later), {}), graph)
    names = graph.items.values.to_pylist()
    clicks = [sum(f"i{i}" == name for i in drawn) for name in names]
    shown = rng.permutation(len(names))[:25].tolist()
    result = evaluate_ranker(Fixed(shown), data, [10, 25], filter_seen=False)
    for number in range(10):
        group = [n for n in range(len(names)) if decile_of(n, clicks) == number]
        aimed = [names.index(i) for _, i, _ in later if i in names and names.index(i) in group]
        for k in (10, 25):
            want = sum(i in shown[:k] for i in aimed) / len(aimed) if aimed else math.nan
            assert result.by_popularity(k)[number] == pytest.approx(want, nan_ok=True)
        value, weight = result.column(f"{DECILES[number]}@25")
        assert float(weight.sum()) == len(aimed) and len(value) == 25
    assert not any(name.startswith("hit_decile") for name in result.values)


def test_a_decile_that_nobody_clicked_has_no_figure():
    graph = build(log_of([("u", "a", 1), ("u", "b", 2), ("v", "b", 3)]), BuildConfig(semantic=[]))
    data = prepare(Holdout(log_of([("u", "a", 1)]), log_of([("w", "b", 9), ("w", "new", 10)]), {}), graph)
    found = evaluate_ranker(Fixed([1]), data, [1], filter_seen=False).by_popularity(1)
    assert [n for n, value in enumerate(found) if not math.isnan(value)] == [6]  # b: the last two of three clicks
    assert found[6] == 1


def test_diversity_is_there_where_categories_are():
    events = pa.table(
        {"user_id": [1, 1, 2, 2], "item_id": [1, 2, 2, 3], "timestamp": [1_500_000_000 + i for i in range(4)]}
    )
    items = pa.table({"item_id": [1, 2, 3], "category": ["x", "y", "x"]})
    graph = build(read_log(events, items=items), BuildConfig(semantic=[]))
    later = read_log(pa.table({"user_id": [1], "item_id": [3], "timestamp": [1_500_000_900]}))
    data = prepare(Holdout(read_log(events), later, {}), graph)
    result = evaluate_ranker(Fixed([0, 1, 2]), data, [1, 2, 3], filter_seen=False)
    assert "diversity@1" not in result.values  # a list of one has no pairs
    assert ["diversity", "-", "1.0000", "0.6667"] in [line.split() for line in str(result).splitlines()]
    assert result.values["diversity@2"] == 1 and result.values["diversity@3"] == pytest.approx(2 / 3)


def test_diversity_by_tags_counts_pairs_that_share_none():
    tags = {"a": ["x", "y"], "b": ["y", "z", "y"], "c": ["z"], "d": [], "e": None, "f": ["x"]}
    log = [("u", item, n) for n, item in enumerate(tags)]
    items = pa.table({"item_id": list(tags), "tags": pa.array(list(tags.values()), pa.list_(pa.string()))})
    user, item, time = zip(*log, strict=True)
    events = pa.table({"user_id": user, "item_id": item, "timestamp": [1_500_000_000 + t for t in time]})
    graph = build(read_log(events, items=items), BuildConfig(semantic=[]))
    data = prepare(Holdout(log_of(log[:2]), log_of([("v", "a", 99), ("w", "b", 99)]), {}), graph)
    line = [3, 0, 1, 4, 2, 5]
    result = evaluate_ranker(Fixed(line), data, range(1, 7), filter_seen=False, diversity="tags")
    kinds = [set(tags[item] or ["nothing"]) for item in sorted(tags)]
    for k in range(2, 7):
        pairs = [kinds[i].isdisjoint(kinds[j]) for n, i in enumerate(line[:k]) for j in line[:n]]
        assert result[f"diversity@{k}"] == pytest.approx(sum(pairs) / len(pairs))
    assert "diversity=tags" in str(result)
    assert "diversity@6" not in evaluate_ranker(Fixed(line), data, [6], filter_seen=False).values  # no categories


def test_diversity_by_what_the_items_do_not_have_is_refused():
    graph = build(log_of([("u", "a", 1)]), BuildConfig(semantic=[]))
    data = prepare(Holdout(log_of([("u", "a", 1)]), log_of([("v", "a", 9)]), {}), graph)
    for wrong in ("tags", "genre"):
        with pytest.raises(InputError, match=f"diversity: expected category, or tags .*'{wrong}'"):
            evaluate_ranker(Fixed([0]), data, [1], diversity=wrong)


def test_drawn_users_keep_what_belongs_to_them():
    rows = [(f"u{n % 7}", f"i{n % 5}", n) for n in range(60)]
    later = [(f"u{n}", f"i{(n + step) % 9}", 100 + n) for n in range(7) for step in range(n + 1)]
    graph = build(log_of(rows), BuildConfig())
    data = prepare(Holdout(log_of(rows), log_of(later), {}), graph)
    some = data.drawn(3, seed=5)
    assert data.drawn(7) is data and len(some) == 3 and some.counts["test users drawn of these"] == 3
    for at, user in enumerate(some.user_ids.to_pylist()):
        row = data.user_ids.to_pylist().index(user)
        assert some.users[at] == data.users[row]
        for mine, all_of in ((some.clicks, data.clicks), (some.histories, data.histories)):
            assert mine.rows(at, at + 1).items.tolist() == all_of.rows(row, row + 1).items.tolist()
        ends = data.clicks.indptr
        kept = some.new[some.clicks.indptr[at] : some.clicks.indptr[at + 1]]
        assert kept.tolist() == data.new[ends[row] : ends[row + 1]].tolist()
    assert some.new.any() and not some.new.all(), "both kinds of clicks are there"
    assert data.drawn(3, seed=5).user_ids.equals(some.user_ids)
