"""Evaluation: holdouts in the graph's numbers, guarded rankers, and figures against loops over users."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from micgraph.baselines import EASE, ItemKNN, Popularity
from micgraph.evaluation import METRICS, evaluate_ranker, prepare, prepared, ranking, table
from micgraph.graph.build_config import BuildConfig
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.split import Holdout, split
from micgraph.retrieval.frames import histories_of
from micgraph.schema import InputError, LeakageError
from tests.small_evaluation import Fixed, log_of

DAY = 86_400


TRAIN = [("ann", "a", 1), ("ann", "b", 2), ("bob", "c", 3), ("bob", "a", 4), ("cid", "c", 5), ("cid", "d", 6)]
PAST = [*TRAIN, ("dan", "zed", 7), ("dan", "d", 8), ("dan", "b", 9)]
LATER = [
    ("bob", "b", 100),
    ("bob", "b", 200),  # clicked twice
    ("bob", "a", 150),  # in his history
    ("dan", "zed", 101),  # unknown to the graph, in his history
    ("dan", "new", 102),  # unknown to the graph
    ("dan", "c", 103),
    ("eve", "a", 104),  # no history
    ("cid", "c", 105),  # nothing but what he had
]


@pytest.fixture
def graph():
    return build(log_of(TRAIN), BuildConfig(semantic=[]))


@pytest.fixture
def holdout():
    return Holdout(log_of(PAST), log_of(LATER), {"kind": "by hand"})


def rows_of(data, ragged):
    bounds = ragged.indptr.tolist()
    lists = [ragged.items[a:b].tolist() for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return dict(zip(data.user_ids.to_pylist(), lists, strict=True))


def test_prepare_keeps_order_and_counts_what_is_unknown(graph, holdout):
    data = prepare(holdout, graph)
    a, b, c, d = range(4)
    zed, new = set(rows_of(data, data.clicks)["dan"]) - {c}
    assert rows_of(data, data.histories) == {"bob": [c, a], "cid": [c, d], "dan": [-1, d, b], "eve": []}
    clicks = rows_of(data, data.clicks)
    assert clicks["bob"] == [b, a, b] and clicks["cid"] == [c] and clicks["eve"] == [a]
    assert clicks["dan"][2] == c and {zed, new} == {4, 5}
    assert dict(zip(data.user_ids.to_pylist(), data.users.tolist(), strict=True)) == {
        "bob": 1,
        "cid": 2,
        "dan": -1,
        "eve": -1,
    }
    assert data.counts == {
        "test users": 4,
        "test users unknown to the graph": 2,
        "test users without a history": 1,
        "test clicks": 8,
        "test clicks on items unknown to the graph": 2,
        "test items unknown to the graph": 2,
        "history events on items unknown to the graph": 1,
    }


def test_what_is_judged_is_what_is_served(graph, holdout):
    """Events on items that the graph does not know keep their place and their second in histories, in either way."""
    data = prepare(holdout, graph)
    past = [[item for user, item, _ in PAST if user == tester] for tester in data.user_ids.to_pylist()]
    served, unknown = histories_of(past, graph.items)
    assert torch.equal(served.items, data.histories.items) and torch.equal(served.indptr, data.histories.indptr)
    assert unknown == data.counts["history events on items unknown to the graph"] == 1
    dan = data.user_ids.to_pylist().index("dan")
    assert data.histories.rows(dan, dan + 1).time.diff().tolist() == [1, 1]


def test_only_new_drops_repeats_even_of_items_that_the_graph_does_not_know(graph, holdout):
    data = prepare(holdout, graph).only_new()
    clicks = rows_of(data, data.clicks)
    assert list(clicks) == ["bob", "dan", "eve"]
    assert clicks["bob"] == [1, 1] and len(clicks["dan"]) == 2 and clicks["dan"][1] == 2 and clicks["eve"] == [0]
    assert rows_of(data, data.histories) == {"bob": [2, 0], "dan": [-1, 3, 1], "eve": []}
    assert data.users.tolist() == [1, -1, -1]
    assert data.counts["users without a new item"] == 1
    assert data.counts["test clicks on items of the history"] == 3
    again = data.only_new()
    assert rows_of(again, again.clicks) == clicks


def test_figures_by_hand(graph, holdout):
    result = evaluate_ranker(Fixed([1, 0, -1]), prepare(holdout, graph), [1, 3], filter_seen=False)
    # distinct targets: bob {a, b}, cid {c}, dan {zed, new, c}, eve {a}; everybody is shown b, a
    assert result["recall@1"] == pytest.approx((1 / 2 + 0 + 0 + 0) / 4)
    assert result["recall@3"] == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert result["hr@3"] == pytest.approx(2 / 4)
    assert result["hit@1"] == pytest.approx(2 / 8)  # bob's two clicks on b
    assert result["hit@3"] == pytest.approx(4 / 8)
    assert result["hit_known@3"] == pytest.approx(4 / 6)
    assert result["coverage@3"] == pytest.approx(2 / 4)
    assert "diversity@3" not in result.values  # the items have no categories


def test_a_target_of_the_history_is_a_miss_when_seen_items_are_filtered(graph, holdout):
    data = prepare(holdout, graph)
    ranker = Popularity().fit(graph)
    assert evaluate_ranker(ranker, data, [4])["recall@4"] == pytest.approx((1 / 2 + 0 + 1 / 3 + 1) / 4)
    assert evaluate_ranker(ranker, data, [4], new_only=True)["recall@4"] == pytest.approx((1 + 1 / 2 + 1) / 3)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([0, 1], r"int64 \[4, 3\]"),
        ([0.0, 1.0, 2.0], r"int64 \[4, 3\]"),
        ([0, 1, 4], "items 0 to 3"),
        ([0, -2, 1], "items 0 to 3"),
        ([0, 1, 0], "every item once"),
        ([0, 1, 2], "no excluded item"),
    ],
)
def test_rankers_that_break_the_contract_are_refused(graph, holdout, line, expected):
    with pytest.raises(InputError, match=f"rankings of fixed: expected .*{expected}"):
        evaluate_ranker(Fixed(line), prepare(holdout, graph), [3])


def test_pads_are_no_hits_and_no_duplicates(graph, holdout):
    result = evaluate_ranker(Fixed([-1, -1, -1]), prepare(holdout, graph), [3])
    assert all(value == 0 for value in result.values.values())


@pytest.mark.parametrize("second", [4, 4.4])
def test_a_target_that_is_a_click_of_the_graph_is_refused(graph, second):
    targets = read_log(
        pa.table({"user_id": ["bob"], "item_id": ["a"], "timestamp": [1_500_000_000_000 + int(1000 * second)]})
    )
    with pytest.raises(LeakageError, match="1 of 1"):
        prepare(Holdout(log_of(TRAIN[:2]), targets, {}), graph)


@pytest.mark.parametrize("row", [("bob", "a", 5), ("bob", "d", 4), ("ann", "c", 3), ("eve", "a", 4)])
def test_the_same_user_or_item_or_second_alone_is_no_leak(graph, row):
    assert len(prepare(Holdout(log_of(TRAIN[:2]), log_of([row]), {}), graph)) == 1


def test_prepared_data_is_taken_on_its_own_graph_only(graph, holdout):
    data = prepare(holdout, graph)
    assert prepared(data, graph) is data
    assert prepared(data.only_new(), build(log_of(TRAIN), BuildConfig(semantic=[]))).graph == data.graph
    assert prepared(holdout, graph).counts == data.counts
    other = build(log_of([*TRAIN, ("cid", "a", 7)]), BuildConfig(semantic=[]))
    with pytest.raises(InputError, match="another graph; .*prepare it with this graph"):
        prepared(data, other)


def test_a_whole_split_is_no_holdout(graph):
    with pytest.raises(InputError, match="got a Split; pass split.test"):
        prepare(split(log_of(PAST), "leave_last_out"), graph)


@pytest.mark.parametrize("ks", [[], [0], [5, -1], [2.5], ["20"], [True]])
def test_cuts_are_whole_numbers_above_0(graph, holdout, ks):
    with pytest.raises(InputError, match="ks: expected whole numbers above 0, at least one, got"):
        evaluate_ranker(Popularity().fit(graph), prepare(holdout, graph), ks)


@pytest.mark.parametrize("filter_seen", [False, True])
def test_beyond_the_catalogue_a_list_ends(graph, holdout, filter_seen):
    for ranker in (Popularity().fit(graph), ItemKNN().fit(graph), EASE().fit(graph)):
        result = evaluate_ranker(ranker, prepare(holdout, graph), [4, 5, np.int64(99)], filter_seen)
        for name in ("recall", "hr", "hit", "coverage"):
            assert result[f"{name}@4"] == result[f"{name}@5"] == result[f"{name}@99"] > 0


def test_nothing_to_test_is_an_error(graph, holdout):
    empty = holdout.targets.filter("FALSE")
    with pytest.raises(InputError, match="at least one target"):
        prepare(Holdout(holdout.histories, empty, {}), graph)
    known = Holdout(holdout.histories, log_of([("bob", "a", 500)]), {})
    with pytest.raises(InputError, match="new_only"):
        evaluate_ranker(Popularity().fit(graph), prepare(known, graph), [2], new_only=True)


@pytest.fixture(scope="module")
def larger():
    rng = np.random.default_rng(0)
    rows = [
        (f"u{u}", f"i{i}", int(t))
        for u, i, t in zip(*rng.integers(0, [[90], [40], [20 * DAY]], (3, 2500)), strict=True)
    ]
    parts = split(log_of(rows), "temporal", test="4d", valid=None)
    graph = build(parts.train, BuildConfig(semantic=[]))
    return graph, prepare(parts.test, graph)


def test_means_are_those_of_a_loop_over_users_in_any_block_size(larger, monkeypatch):
    graph, data = larger
    ranker = EASE(20.0).fit(graph)
    whole = evaluate_ranker(ranker, data, [5, 10], filter_seen=False)
    recall, hits, total = [], 0, 0
    histories, clicks = rows_of(data, data.histories), rows_of(data, data.clicks)
    for user, row in clicks.items():
        history = torch.tensor(histories[user])
        lines = ranker.rank(type(data.histories)(torch.tensor([0, len(history)]), history), torch.tensor([-1]), 5)
        top = set(lines[0].tolist())
        recall.append(len(top & set(row)) / len(set(row)))
        hits, total = hits + sum(c in top for c in row), total + len(row)
    assert whole["recall@5"] == pytest.approx(np.mean(recall))
    assert whole["hit@5"] == pytest.approx(hits / total)
    monkeypatch.setattr(ranking, "BLOCK", 7)
    blocks = evaluate_ranker(ranker, data, [10, 5], filter_seen=False)
    assert blocks.values == pytest.approx(whole.values) and blocks.ks == (5, 10)


def test_columns_give_back_the_means_for_the_bootstrap(larger):
    graph, data = larger
    result = evaluate_ranker(Popularity().fit(graph), data, [5, 10], filter_seen=False)
    for name in ("recall", "hr", "ndcg", "ndcg_hits", "hit", "hit_known"):
        value, weight = result.column(f"{name}@10")
        assert float((value * weight).sum() / weight.sum()) == pytest.approx(result[f"{name}@10"], rel=1e-5)
    for wrong in ("recall@7", "recall", "fame@5"):
        with pytest.raises(InputError, match="metric"):
            result.column(wrong)
    with pytest.raises(InputError, match="metric"):
        result["recall@7"]


def test_json_and_tables(larger):
    graph, data = larger
    one = evaluate_ranker(Popularity().fit(graph), data, [5, 10])
    two = evaluate_ranker(Popularity("3d").fit(graph), data, [5, 10])
    assert json.loads(one.json())["values"] == one.values
    assert {key.split("@")[0] for key in one.values} == set(METRICS) - {"diversity", "hit_cold_items", "hit_cold_users"}
    assert f"recall     {one['recall@5']:.4f}  {one['recall@10']:.4f}" in str(one)
    lines = table([one, two], ["recall@5", "coverage@10"]).splitlines()
    assert lines[0].split() == ["recall@5", "coverage@10"]
    assert lines[1].split() == ["popularity", f"{one['recall@5']:.4f}", f"{one['coverage@10']:.4f}"]
    seeds = [one, type(one)(**{**vars(two), "name": "popularity"})]
    mean, spread = np.mean([one["hr@5"], two["hr@5"]]), np.std([one["hr@5"], two["hr@5"]], ddof=1)
    assert f"{mean:.4f} ± {spread:.4f}" in table(seeds, ["hr@5"])
    with pytest.raises(InputError, match="at least one result"):
        table([])


def test_movielens_reference_rows(shared_data):
    """The figures of a loop over users in plain NumPy on the same split, made once with other code."""
    from micgraph import datasets

    parts = split(datasets.movielens_1m(shared_data / "ml-1m"), "user_holdout", seed=1230)
    graph = build(parts.train, BuildConfig(semantic=[]))
    data = prepare(parts.test, graph)
    got = evaluate_ranker(Popularity().fit(graph), data, [20, 50])
    assert [got[m] for m in ("recall@20", "recall@50", "hr@50")] == pytest.approx([0.0709, 0.1439, 0.7815], abs=1e-3)
    got = evaluate_ranker(EASE(1000).fit(graph), data, [20, 50])
    assert [got[m] for m in ("recall@20", "recall@50", "hr@50")] == pytest.approx([0.140, 0.264, 0.949], abs=2e-3)
