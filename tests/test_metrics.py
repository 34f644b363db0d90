"""Metrics against loops written from their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micgraph import metrics
from micgraph.knn import Ragged
from micgraph.schema import InputError

KS = [1, 2, 3, 7]


def ragged(rows):
    lengths = torch.tensor([0] + [len(r) for r in rows])
    return Ragged(lengths.cumsum(0), torch.tensor([i for r in rows for i in r], dtype=torch.int64))


def first_hits(line, targets, k):
    """Ranks (from 0) within the first k at which a target is listed for the first time."""
    found, ranks = set(), []
    for rank in range(min(k, len(line))):
        if line[rank] != -1 and line[rank] in targets and line[rank] not in found:
            found.add(line[rank])
            ranks.append(rank)
    return ranks


def oracle(name, line, targets, k):
    distinct = set(targets)
    if not distinct:
        return math.nan
    ranks = first_hits(line, distinct, k)
    gain = sum(1 / math.log2(rank + 2) for rank in ranks)
    ideal = {"ndcg": min(k, len(distinct)), "ndcg_hits": len(ranks)}.get(name, 0)
    best = sum(1 / math.log2(rank + 2) for rank in range(ideal))
    if name == "recall":
        return len(ranks) / len(distinct)
    if name == "hit_rate":
        return float(len(ranks) > 0)
    return gain / best if best else 0.0


cases = st.integers(1, 5).flatmap(
    lambda users: st.tuples(
        st.integers(1, 6).flatmap(
            lambda n: st.lists(st.lists(st.integers(-1, 6), min_size=n, max_size=n), min_size=users, max_size=users)
        ),
        st.lists(st.lists(st.integers(0, 8), max_size=6), min_size=users, max_size=users),
    )
)


@pytest.mark.parametrize("name", ["recall", "hit_rate", "ndcg", "ndcg_hits"])
@settings(deadline=None)
@given(case=cases)
def test_user_metrics_follow_their_formulas_with_pads_and_duplicates(name, case):
    lines, targets = case
    got = getattr(metrics, name)(torch.tensor(lines), ragged(targets), KS)
    want = [[oracle(name, line, t, k) for k in KS] for line, t in zip(lines, targets, strict=True)]
    torch.testing.assert_close(got, torch.tensor(want), equal_nan=True)
    assert bool(((got >= 0) & (got <= 1 + 1e-6) | got.isnan()).all())


@settings(deadline=None)
@given(case=cases)
def test_hits_per_click_count_every_click(case):
    lines, clicks = case
    got = metrics.hit_per_click(torch.tensor(lines), ragged(clicks), KS)
    want = [[sum(c in line[:k] for c in row) for k in KS] for line, row in zip(lines, clicks, strict=True)]
    assert got.tolist() == want


@settings(deadline=None)
@given(case=cases)
def test_diversity_is_the_share_of_unlike_pairs(case):
    lines, _ = case
    category = [0, 1, 1, 2, 0, 2, 2]
    got = metrics.diversity(torch.tensor(lines), torch.tensor(category), KS)
    for b, line in enumerate(lines):
        for at, k in enumerate(KS):
            chosen = list(dict.fromkeys(i for i in line[:k] if i >= 0))
            pairs = [(i, j) for n, i in enumerate(chosen) for j in chosen[n + 1 :]]
            unlike = [category[i] != category[j] for i, j in pairs]
            want = sum(unlike) / len(unlike) if unlike else math.nan
            torch.testing.assert_close(float(got[b, at]), want, equal_nan=True, rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(case=cases)
def test_hits_by_group_are_the_hits_of_each_part(case):
    lines, clicks = case
    part = [-1, 0, 2, 1, 0, 2, -1, 1, 0]  # of items 0 to 8
    group = torch.tensor([part[c] for row in clicks for c in row], dtype=torch.int64)
    got = metrics.hit_by_group(torch.tensor(lines), ragged(clicks), group, 3, KS)
    want = [
        [[sum(c in line[:k] and part[c] == g for c in row) for k in KS] for g in range(3)]
        for line, row in zip(lines, clicks, strict=True)
    ]
    assert got.tolist() == want


@settings(deadline=None)
@given(case=cases, step=st.sampled_from([1, 2**24]))
def test_with_several_codes_pairs_differ_that_share_none(case, step):
    lines, _ = case
    codes = [[0, -1], [3, 1], [1, -1], [2, 4], [0, -1], [4, 3], [2, -1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_CELLS", step)
        got = metrics.diversity(torch.tensor(lines), torch.tensor(codes), KS)
    for b, line in enumerate(lines):
        for at, k in enumerate(KS):
            chosen = list(dict.fromkeys(i for i in line[:k] if i >= 0))
            pairs = [(set(codes[i]) - {-1}, set(codes[j]) - {-1}) for n, i in enumerate(chosen) for j in chosen[:n]]
            want = sum(not (i & j) for i, j in pairs) / len(pairs) if pairs else math.nan
            torch.testing.assert_close(float(got[b, at]), want, equal_nan=True, rtol=1e-5, atol=1e-6)


def test_coverage_counts_distinct_items_and_no_pads():
    top = torch.tensor([[3, 1, -1], [3, 3, 0]])
    assert metrics.coverage(top, 4, [1, 2, 3]).tolist() == [0.25, 0.5, 0.75]


def test_recall_is_not_above_one_where_the_unguarded_metric_is():
    from torch_geometric.metrics import LinkPredRecall

    top, target = torch.tensor([[5, 5, 5]]), torch.tensor([[0], [5]])
    bare = LinkPredRecall(3)
    bare.update(top, target)
    assert float(bare.compute()) == 3.0
    assert metrics.recall(top, ragged([[5]]), [3]).tolist() == [[1.0]]


def test_a_pad_is_not_the_item_in_front_of_a_row():
    # PyG flattens rows: -1 of user 1 would be the largest item of user 0
    top = torch.tensor([[0, 1], [-1, -1]])
    assert metrics.recall(top, ragged([[4], [4]]), [2]).tolist() == [[0.0], [0.0]]
    assert metrics.hit_per_click(top, ragged([[4], [4, 4]]), [2]).tolist() == [[0], [0]]


def test_one_hit_at_rank_one_is_perfect_only_for_comirecs_ndcg():
    top, targets = torch.tensor([[2, 9, 8]]), ragged([[2, 3, 4]])
    assert metrics.ndcg_hits(top, targets, [3]).item() == 1.0
    assert metrics.ndcg(top, targets, [3]).item() == pytest.approx(1 / (1 + 1 / math.log2(3) + 1 / 2))


def test_alignment_and_uniformity_follow_their_formulas():
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    unit = [v / sum(float(a) ** 2 for a in v) ** 0.5 for v in x], [v / sum(float(a) ** 2 for a in v) ** 0.5 for v in y]
    aligned = [sum(float(a - b) ** 2 for a, b in zip(v, w, strict=True)) for v, w in zip(*unit, strict=True)]
    assert float(metrics.alignment(x, y)) == pytest.approx(sum(aligned) / 6)
    pairs = [(v, w) for i, v in enumerate(unit[0]) for j, w in enumerate(unit[0]) if i != j]
    kernel = [math.exp(-2 * sum(float(a - b) ** 2 for a, b in zip(v, w, strict=True))) for v, w in pairs]
    assert float(metrics.uniformity(x)) == pytest.approx(math.log(sum(kernel) / len(kernel)))


@pytest.mark.parametrize(
    ("top", "targets", "ks", "argument"),
    [
        (torch.zeros(2, 3), ragged([[1], [2]]), [1], "top"),
        (torch.zeros(2, 0, dtype=torch.int64), ragged([[1], [2]]), [1], "top"),
        (torch.zeros(2, 3, dtype=torch.int64), ragged([[1]]), [1], "targets"),
        (torch.zeros(1, 3, dtype=torch.int64), ragged([[-1]]), [1], "targets"),
        (torch.zeros(1, 3, dtype=torch.int64), ragged([[1]]), [0], "ks"),
        (torch.zeros(1, 3, dtype=torch.int64), ragged([[1]]), [], "ks"),
    ],
)
@pytest.mark.parametrize("name", ["recall", "hit_rate", "ndcg", "ndcg_hits", "hit_per_click"])
def test_bad_input_is_named(name, top, targets, ks, argument):
    with pytest.raises(InputError, match=f"^{argument}: expected"):
        getattr(metrics, name)(top, targets, ks)
