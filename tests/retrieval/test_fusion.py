"""Merging, Eqs. 3-5 and the learned fusion against loops written from the formulas."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from micgraph.knn import VectorIndex
from micgraph.retrieval.channels import CHANNELS, Candidates
from micgraph.retrieval.fusion import FusionConfig, count_score, fuse
from micgraph.retrieval.learned import FEATURES, LearnedFusion, features
from micgraph.retrieval.pool import cut, merge
from micgraph.retrieval.selection import select
from micgraph.schema import ConfigError, InputError

N_ITEMS = 7


@st.composite
def findings(draw):
    """Per user and channel a list of (item, weight, trigger); U2I's are distinct and have no trigger."""
    batch = draw(st.integers(1, 4))
    weight = st.integers(-4, 8).map(lambda x: x / 8)
    names = draw(st.lists(st.sampled_from(CHANNELS), min_size=1, unique=True))
    found = {}
    for name in names:
        line = st.lists(st.tuples(st.integers(0, N_ITEMS - 1), weight, st.integers(0, 3)), max_size=9)
        if name == "u2i":
            line = st.lists(st.integers(0, N_ITEMS - 1), unique=True).map(lambda x: [(i, 0.5, -1) for i in x])
        found[name] = draw(st.lists(line, min_size=batch, max_size=batch))
    return found, batch


def candidates(lines):
    width = max(1, max(map(len, lines)))
    padded = [line + [(0, 0.0, -1)] * (width - len(line)) for line in lines]
    items, weight, trigger = (torch.tensor([[x[f] for x in line] for line in padded]) for f in range(3))
    mask = torch.arange(width)[None] < torch.tensor([[len(line)] for line in lines])
    return Candidates(items, mask, weight.float(), trigger)


def pooled(found):
    return merge({name: candidates(lines) for name, lines in found.items()})


def by_item(found, b):
    """item -> per channel the occurrences, from the lists themselves."""
    seen = {}
    for name in CHANNELS:
        for place, (item, weight, trigger) in enumerate(found[name][b] if name in found else []):
            seen.setdefault(item, {c: [] for c in CHANNELS})[name].append((weight, trigger, place))
    return seen


@given(findings())
def test_merge_counts_every_occurrence_and_keeps_the_best_trigger(drawn):
    found, batch = drawn
    pool = pooled(found)
    for b in range(batch):
        expected = by_item(found, b)
        valid = pool.mask[b]
        assert pool.items[b][valid].tolist() == sorted(expected)
        assert not valid[int(valid.sum()) :].any()
        for p, item in enumerate(sorted(expected)):
            per_channel = expected[item]
            assert pool.count[b, :, p].tolist() == [len(per_channel[c]) for c in CHANNELS]
            assert pool.weight[b, :, p].tolist() == [sum(x[0] for x in per_channel[c]) for c in CHANNELS]
            assert pool.rank[b, p] == (per_channel["u2i"][0][2] if per_channel["u2i"] else -1)
            reasons = [(w, c, t) for c in ("u2u", "i2i") for w, t, _ in per_channel[c]]
            best = max(reasons, key=lambda r: r[0]) if reasons else (0.0, "u2i", -1)
            trigger = (pool.trigger.similarity[b, p], CHANNELS[pool.trigger.channel[b, p]], pool.trigger.node[b, p])
            assert trigger == best


@given(findings(), st.integers(1, 4) | st.none(), st.integers(1, 4) | st.none())
def test_cut_keeps_the_best_by_similarity_times_cosine(drawn, k2, k3):
    found, batch = drawn
    pool = pooled(found)
    cosine = (torch.arange(pool.items.numel()).view(pool.items.shape) * 5 % 7 - 2) / 4
    held = cut(pool, cosine, k2, k3)
    for b in range(batch):
        expected = by_item(found, b)
        order = sorted(expected)
        for channel, k in (("u2i", None), ("u2u", k2), ("i2i", k3)):
            mine = [i for i in order if expected[i][channel]]
            value = {i: sum(x[0] for x in expected[i][channel]) * float(cosine[b, order.index(i)]) for i in mine}
            mine = sorted(mine, key=lambda i: (-value[i], i))[:k]
            kept = pool.items[b][held[b, CHANNELS.index(channel)]]
            assert kept.tolist() == sorted(mine)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_count_score_is_a_stable_softmax(scale):
    count = torch.tensor([[1, 3, 2, 9], [5, 5, 0, 0], [0, 0, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()
    got = count_score(count, mask, scale)
    for b in range(3):
        s = [
            math.exp(c if scale == "linear" else math.log(c)) if m else 0.0
            for c, m in zip(count[b], mask[b], strict=True)
        ]
        expected = [x / sum(s) if sum(s) else 0.0 for x in s]
        assert got[b].tolist() == pytest.approx(expected, rel=1e-6)
    large = count_score(torch.tensor([[100_000, 99_999]]), torch.ones(1, 2, dtype=torch.bool), scale)
    assert torch.isfinite(large).all() and large.sum() == pytest.approx(1)


def greedy(score, mask, category, k, lambda_div):
    """Eqs. 4 and 5 in their greedy marginal form, every pair compared."""
    chosen, values = [], []
    while len(chosen) < min(k, sum(mask)):
        best = None
        for i in range(len(score)):
            if mask[i] and i not in chosen:
                different = sum(category[i] != category[j] for j in chosen)
                share = np.float32(lambda_div) * np.float32(different) / np.float32(max(len(chosen), 1))
                total = np.float32(score[i]) + share
                if best is None or total > best[0]:
                    best = (total, i)
        values.append(float(best[0]))
        chosen.append(best[1])
    return chosen + [-1] * (k - len(chosen)), values + [-math.inf] * (k - len(values))


@given(
    st.integers(1, 12).flatmap(
        lambda p: st.lists(
            st.lists(st.tuples(st.integers(-3, 9), st.booleans(), st.integers(0, 3)), min_size=p, max_size=p),
            min_size=1,
            max_size=3,
        )
    ),
    st.integers(1, 14),
    st.sampled_from([0.0, 0.25, 0.2, 1.0]),
)
def test_select_is_the_greedy_choice_of_eq_4_and_5(rows, k, lambda_div):
    score, mask, category = ([[x[f] for x in row] for row in rows] for f in range(3))
    score = [[s / 8 for s in row] for row in score]
    place, value = select(torch.tensor(score), torch.tensor(mask), torch.tensor(category), k, lambda_div)
    for b in range(len(rows)):
        expected = greedy(score[b], mask[b], category[b], k, lambda_div)
        assert place[b].tolist() == expected[0]
        assert value[b].tolist() == pytest.approx(expected[1], abs=1e-6)


def test_diversity_mixes_categories():
    score, category = torch.tensor([[1.0, 0.9, 0.8, 0.5]]), torch.tensor([[1, 1, 1, 2]])
    mask = torch.ones(1, 4, dtype=torch.bool)
    assert select(score, mask, category, 4, 0.0)[0].tolist() == [[0, 1, 2, 3]]
    assert select(score, mask, category, 4, 0.6)[0].tolist() == [[0, 3, 1, 2]]


@pytest.mark.parametrize(
    "settings", [{}, {"basic": "score"}, {"count_scale": "log", "lambda_mic": 2.0}, {"k2": 2, "k3": 1}]
)
@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_fuse_is_eq_5(settings, metric):
    g = torch.Generator().manual_seed(4)
    vectors, search = torch.randn(N_ITEMS, 3, generator=g), torch.randn(2, 3, generator=g)
    category = torch.tensor([0, 1, 1, 2, 2, 2, 3])
    found = {
        "u2i": [[(3, 0.5, -1), (1, 0.4, -1)], [(0, 1.0, -1)]],
        "u2u": [[(3, 0.9, 7), (3, 0.2, 8), (5, 0.7, 7), (6, 0.1, 8)], []],
        "i2i": [[(1, 0.3, 2), (6, 0.8, 2), (4, 0.6, 3)], [(2, 0.5, 0), (2, 0.5, 1)]],
    }
    config = FusionConfig(**settings)
    got = fuse(pooled(found), search, VectorIndex(vectors, metric), category, 5, config)
    for b in range(2):
        expected = by_item(found, b)
        ip = {i: float(search[b] @ vectors[i]) for i in expected}
        cosine = {i: ip[i] / float(search[b].norm() * vectors[i].norm()) for i in expected}
        for channel, k in (("u2u", config.k2), ("i2i", config.k3)):
            mine = [i for i in expected if expected[i][channel]]
            kept = sorted(mine, key=lambda i: -sum(x[0] for x in expected[i][channel]) * cosine[i])[:k]
            for i in set(mine) - set(kept):
                expected[i]["cut " + channel] = expected[i][channel]
        items = [i for i in sorted(expected) if any(expected[i][c] and "cut " + c not in expected[i] for c in CHANNELS)]
        s = {i: sum(len(expected[i][c]) for c in CHANNELS) for i in items}
        weight = {i: math.exp(s[i]) if config.count_scale == "linear" else s[i] for i in items}
        u2i = ip if metric == "ip" else cosine
        basic = cosine if config.basic == "cosine" else u2i
        score = [basic[i] + config.lambda_mic * weight[i] / sum(weight.values()) for i in items]
        chosen, values = greedy(score, [True] * len(items), category[items].tolist(), 5, config.lambda_div)
        assert got.items[b].tolist() == [items[c] if c >= 0 else -1 for c in chosen]
        assert got.score[b].tolist() == pytest.approx(values, abs=1e-5)
        for place, c in enumerate(c for c in chosen if c >= 0):
            item = items[c]
            assert float(got.basic[b, place]) == pytest.approx(u2i[item], abs=1e-5)
            assert got.count[b, :, place].tolist() == [len(expected[item][c]) for c in CHANNELS]
            assert got.held[b, :, place].tolist() == [
                bool(expected[item][c]) and "cut " + c not in expected[item] for c in CHANNELS
            ]


def test_learned_fusion_finds_the_odds_within_each_users_candidates():
    """Users differ in how much they click: that must not bend the weights of what their candidates differ in."""
    g = torch.Generator().manual_seed(1)
    owner = torch.arange(400).repeat_interleave(40) * 3  # numbers of users may have gaps
    spread = torch.tensor([1.0, 5, 1, 1, 1, 1, 1, 1, 1, 0])
    x = torch.randn(len(owner), len(FEATURES), generator=g) * spread + 2
    eager = torch.randn(400, generator=g).repeat_interleave(40) * 2 - 3
    truth = 2 * x[:, 0] - 0.4 * x[:, 1]
    model = LearnedFusion.fit(x, torch.rand(len(owner), generator=g) < torch.sigmoid(truth + eager), owner)
    model = LearnedFusion(**json.loads(json.dumps(asdict(model))))
    assert np.corrcoef(model.score(x), truth)[0, 1] > 0.99
    slopes = [w / s for w, s in zip(model.weight, model.scale, strict=True)]
    assert slopes[0] == pytest.approx(2, rel=0.15) and slopes[1] == pytest.approx(-0.4, rel=0.15)
    by_hand = sum(model.weight[f] * (float(x[0, f]) - model.mean[f]) / model.scale[f] for f in range(len(FEATURES)))
    assert float(model.score(x)[0]) == pytest.approx(by_hand, abs=1e-4)


def test_learned_fusion_minimises_the_loss_that_it_states():
    """Against loops: every step away from the fitted weights costs more."""
    g = torch.Generator().manual_seed(2)
    owner = torch.tensor([0] * 5 + [1] * 7 + [2] * 3)
    x = torch.randn(15, len(FEATURES), generator=g, dtype=torch.float64)
    relevant = torch.rand(15, generator=g) < 0.4
    relevant[12:] = False  # a user without a target says nothing
    model = LearnedFusion.fit(x, relevant, owner, ["i2i_weight", "u2i_score"])
    assert model.names == ["i2i_weight", "u2i_score"]

    def lost(weight):
        users = []
        for user in (0, 1):
            mine = [k for k in range(15) if owner[k] == user]
            score = {
                k: sum(
                    w * (float(x[k, FEATURES.index(name)]) - m) / s
                    for w, name, m, s in zip(weight, model.names, model.mean, model.scale, strict=True)
                )
                for k in mine
            }
            rest = sum(math.exp(score[k]) for k in mine if not relevant[k])
            terms = [math.log(math.exp(score[k]) + rest) - score[k] for k in mine if relevant[k]]
            users.append(sum(terms) / len(terms))
        return sum(users) / 2 + 1e-4 * sum(w * w for w in weight)

    best = lost(model.weight)
    for column in (0, 1):
        for step in (-0.01, 0.01):
            moved = list(model.weight)
            moved[column] += step
            assert lost(moved) > best


def test_features_of_the_learned_fusion():
    found = {"u2i": [[(3, 0.5, -1), (1, 0.4, -1)]], "u2u": [[(3, 0.9, 7), (3, 0.2, 8), (5, 0.7, 7)]]}
    pool = pooled(found)
    basic = torch.tensor([[0.1, 0.2, 0.3]])
    x = features(pool, pool.count > 0, basic)
    log = math.log
    assert x[0, 0].tolist() == pytest.approx([0.1, -log(3), 0, 0, 0, 0, 0, 1, 0, 0])
    assert x[0, 1].tolist() == pytest.approx([0.2, -log(2), log(3), 0, 1.1, 0, 0.9, 1, 1, 0])
    assert x[0, 2].tolist() == pytest.approx([0.3, 0, log(2), 0, 0.7, 0, 0.7, 0, 1, 0])


def test_learned_fusion_needs_a_model_and_two_classes():
    vectors = torch.eye(3)
    pool = pooled({"u2i": [[(0, 1.0, -1)]]})
    with pytest.raises(ConfigError, match="fit_fusion"):
        fuse(pool, vectors[:1], VectorIndex(vectors), torch.zeros(3).long(), 1, FusionConfig(fusion="learned"))
    with pytest.raises(InputError, match="0 of 3"):
        LearnedFusion.fit(torch.randn(3, 10), torch.zeros(3, dtype=torch.bool), torch.zeros(3, dtype=torch.int64))


def test_the_defaults_are_the_papers():
    config = FusionConfig()
    assert (config.lambda_mic, config.lambda_div, config.k1) == (0.5, 0.2, 200)
    assert (config.m1, config.m2, config.m, config.m3, config.k2, config.k3) == (40, 60, 30, 50, None, None)
    assert (config.fusion, config.basic, config.count_scale) == ("mic", "cosine", "linear")


@pytest.mark.parametrize(
    "wrong",
    [
        {"k1": 0},
        {"k3": 0},
        {"fusion": "sum"},
        {"basic": "l2"},
        {"neighbors": "far"},
        {"learn_from": ("u2i_mood",)},
        {"learn_from": ()},
    ],
)
def test_bad_settings(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FusionConfig(**wrong)


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError, match="lambda_mick"):
        TypeAdapter(FusionConfig).validate_python({"lambda_mick": 1})
