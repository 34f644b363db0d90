"""Numbers of a graph against plain loops over its edges."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import micgraph as mg
from micgraph.graph.relation import Relation
from micgraph.graph.summary import QUANTILES
from micgraph.inspection import overlap
from micgraph.inspection.facts import facts_of
from micgraph.schema import EDGE_TYPES
from tests.toy import Rows, random_rows, toy_graph, weighted, with_sessions

N_ITEMS = 6
ROWS = st.lists(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, N_ITEMS - 1)), max_size=7).map(sorted),
    min_size=1,
    max_size=5,
)
PAIRS = st.sets(st.tuples(st.integers(0, N_ITEMS - 1), st.integers(0, N_ITEMS - 1)).filter(lambda p: p[0] != p[1]))


def edges_of(rel: Relation) -> list[tuple[int, int]]:
    """(source, target) of every edge, by the offsets."""
    found = []
    for row in range(rel.n_rows):
        for edge in range(int(rel.indptr[row]), int(rel.indptr[row + 1])):
            found.append((row, int(rel.col[edge])))
    return found


def _spread(values: list[int]) -> dict[int, int]:
    return dict(Counter(values))


def _as_dict(spread: Any) -> dict[int, int]:
    return dict(zip(spread[0].tolist(), spread[1].tolist(), strict=True))


def _quantile(values: list[int], q: float) -> int:
    """The smallest value that at least the share ``q`` of the values do not exceed."""
    return next(v for v in sorted(values) if sum(w <= v for w in values) >= q * len(values))


def _with(graph: mg.RecGraph, **relations: Relation) -> mg.RecGraph:
    return replace(graph, relations={**graph.relations, **relations})


@given(ROWS)
def test_degrees_are_counted_from_both_ends(rows: Rows) -> None:
    graph = with_sessions(toy_graph(rows, N_ITEMS), rows)
    facts = facts_of(graph)
    for name, rel in graph.relations.items():
        source, _, target = EDGE_TYPES[name]
        begins, ends = Counter(a for a, _ in edges_of(rel)), Counter(b for _, b in edges_of(rel))
        out = [begins[node] for node in range(graph.n_nodes[source])]
        into = [ends[node] for node in range(graph.n_nodes[target])]
        assert _as_dict(facts.degrees[f"{source} -> {name}"]) == _spread(out)
        assert _as_dict(facts.degrees[f"{target} <- {name}"]) == _spread(into)
        for key, values in ((f"{source} -> {name}", out), (f"{target} <- {name}", into)):
            wanted = tuple(_quantile(values, q) for q in QUANTILES) if values else (0,) * len(QUANTILES)
            assert facts.summary.degrees[key] == wanted


@given(ROWS)
def test_sessions_and_repeats(rows: Rows) -> None:
    graph = with_sessions(toy_graph(rows, N_ITEMS), rows)
    facts = facts_of(graph)
    stretches: dict[tuple[int, int], list[int]] = {}
    for user, row in enumerate(rows):
        for time, _ in row:
            stretches.setdefault((user, time // 10), []).append(time)
    assert facts.sessions is not None
    lengths = [len(times) for times in stretches.values()]
    assert _as_dict(facts.sessions.lengths) == _spread(lengths)
    assert facts.sessions.single == lengths.count(1)
    seconds = [max(times) - min(times) for times in stretches.values()]
    for name, values in (("clicks", lengths), ("seconds", seconds)):
        wanted = tuple(_quantile(values, q) for q in QUANTILES) if values else (0,) * len(QUANTILES)
        assert getattr(facts.sessions, name) == wanted
    clicks = [(user, item) for user, row in enumerate(rows) for _, item in row]
    if not clicks:
        assert facts.times is None
        return
    assert facts.times is not None
    assert (facts.times.clicks, facts.times.repeats) == (len(clicks), len(clicks) - len(set(clicks)))
    times = [time for row in rows for time, _ in row]
    assert (facts.times.first, facts.times.last) == (min(times), max(times))
    assert int(facts.times.counts.sum()) == len(times)


@given(PAIRS, PAIRS, st.sampled_from([1, 4, 2**22]))
def test_overlap_is_a_comparison_of_sets(first: set[tuple[int, int]], second: set[tuple[int, int]], block: int) -> None:
    graph = _with(
        toy_graph([[]], N_ITEMS),
        co_occurs=weighted(dict.fromkeys(first, 2), N_ITEMS),
        similar=weighted(dict.fromkeys(second, 1), N_ITEMS, score=True),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(overlap, "BLOCK", block)
        (found,) = overlap.overlaps(graph)
    assert (found.first, found.second) == ("co_occurs", "similar")
    assert found.edges == (len(first), len(second))
    assert found.shared == len(first & second)
    chance = 0.0
    likely = [_likely(pairs) for pairs in (first, second)]
    for pair in likely[0]:
        chance += likely[0][pair] * likely[1].get(pair, 0.0)
    assert found.chance == pytest.approx(chance)
    assert found.lift == pytest.approx(found.shared / chance) if chance else found.lift != found.lift


def _likely(pairs: set[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """The chance of each pair, in proportion to the edges that its ends have; as many edges in all."""
    begins, ends = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    mass = {(a, b): begins[a] * ends[b] for a in begins for b in ends if a != b}
    return {pair: len(pairs) * m / sum(mass.values()) for pair, m in mass.items()}


def test_what_popularity_alone_brings_about_is_chance() -> None:
    """Two relations are drawn independently, both towards the same popular items: the lift is about 1."""
    random, n = np.random.default_rng(0), 1_000
    sides = []
    for _ in range(2):
        drawn = zip(random.integers(0, n, 40_000).tolist(), (n * random.random(40_000) ** 2).astype(int), strict=True)
        sides.append({(a, int(b)) for a, b in drawn if a != b})
    graph = toy_graph([[]], N_ITEMS)
    graph = replace(
        graph, relations={name: _weighted(side, n) for name, side in zip(("co_occurs", "similar"), sides, strict=True)}
    )
    (found,) = overlap.overlaps(graph)
    assert found.lift == pytest.approx(1.0, abs=0.08)
    assert found.shared > 1.4 * len(sides[0]) * len(sides[1]) / (n * (n - 1)), "more than uniform draws share"


def _weighted(pairs: set[tuple[int, int]], n: int) -> Relation:
    source, target = np.array(sorted(pairs)).T
    indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=n))])
    return Relation(torch.from_numpy(indptr), torch.from_numpy(target.astype(np.int32)), n)


@given(ROWS, PAIRS, PAIRS)
def test_items_without_an_edge(rows: Rows, first: set[tuple[int, int]], second: set[tuple[int, int]]) -> None:
    graph = _with(
        with_sessions(toy_graph(rows, N_ITEMS), rows),
        co_occurs=weighted(dict.fromkeys(first, 1), N_ITEMS),
        similar=weighted(dict.fromkeys(second, 1), N_ITEMS, score=True),
    )
    clicked = {item for row in rows for _, item in row}
    reached = {
        "clicks": clicked,
        "contains": clicked,
        "co_occurs": {item for pair in first for item in pair},
        "similar": {item for pair in second for item in pair},
    }
    reached["any relation"] = set().union(*reached.values())
    found = {one.relation: one for one in facts_of(graph).alone}
    assert list(found)[-1] == "any relation" and set(found) == set(reached)
    for name, items in reached.items():
        alone = [item for item in range(N_ITEMS) if item not in items]
        assert (found[name].count, found[name].examples) == (len(alone), tuple(alone[:5]))


def test_fields_with_their_vocabularies() -> None:
    graph = toy_graph(random_rows(), 14)
    found = {(f.node, f.name): (f.kind, f.size, f.unknown) for f in facts_of(graph).fields}
    assert found == {
        ("item", "item_id"): ("categorical", 14, 0),
        ("item", "category"): ("categorical", 3, sum(i % 5 == 4 for i in range(14))),
        ("item", "tags"): ("multi", 5, sum(i % 4 == 3 for i in range(14))),
        ("item", "year"): ("dense", 1, None),
        ("item", "embedding"): ("embedding", 3, None),
        ("user", "user_id"): ("categorical", 9, 0),
        ("user", "country"): ("categorical", 2, 3),
        ("user", "age"): ("dense", 1, None),
    }


def test_what_edges_carry_and_no_sessions() -> None:
    facts = facts_of(toy_graph(random_rows(), 14))
    assert facts.sessions is None
    assert facts.carried == {"clicks": ("time",), "co_occurs": ("count",), "similar": ("score",)}
