"""khop against plain loops: what it samples, how it relabels, and that nothing at or after a seed's time is in it."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph import rng
from micgraph.graph.relation import Relation
from micgraph.sampling.khop import _choose_by_tensors, choose, khop
from micgraph.sampling.nodes import SharedNodes
from micgraph.schema import InputError

CLICKS, CLICKED_BY, TOGETHER = ("item", "rev_clicks", "user"), ("user", "clicks", "item"), ("item", "co_occurs", "item")


def timed(rows: list[list[tuple[int, int]]], n_cols: int) -> Relation:
    """A relation of rows of (time, column)."""
    ordered = [sorted(row) for row in rows]
    flat = [edge for row in ordered for edge in row]
    indptr = torch.tensor([0, *torch.tensor([len(r) for r in rows]).cumsum(0).tolist()])
    col = torch.tensor([c for _, c in flat], dtype=torch.int32)
    return Relation(indptr, col, n_cols, time=torch.tensor([t for t, _ in flat], dtype=torch.int32))


def graph(clicks: list[list[tuple[int, int]]], n_items: int) -> dict[tuple[str, str, str], Relation]:
    rel = timed(clicks, n_items)
    return {CLICKS: rel, CLICKED_BY: rel.reverse()}


logs = st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=8), min_size=1, max_size=6)


@given(logs, st.integers(0, 10_000), st.integers(1, 4))
def test_every_sampled_edge_exists_and_relabels_back(log: list[list[tuple[int, int]]], key: int, fanout: int) -> None:
    relations = graph(log, 6)
    seeds = torch.arange(len(log))
    out = khop(relations, {"user": seeds}, {kind: [fanout, fanout] for kind in relations}, key)
    assert out.node["user"][: len(log)].tolist() == seeds.tolist()
    for kind, rel in relations.items():
        rows = rel.row_index()
        for source, target, eid in zip(out.row[kind], out.col[kind], out.edge[kind], strict=True):
            assert out.node[kind[0]][source] == rel.col[eid] and out.node[kind[2]][target] == rows[eid]
        per_node = Counter(out.col[kind].tolist())
        assert len(set(out.edge[kind].tolist())) == len(out.edge[kind])
        for place, count in per_node.items():
            degree = int(rel.degree(out.node[kind[2]][place : place + 1]))
            assert count == min(fanout, degree)
    for nodes in out.node.values():
        assert len(set(nodes.tolist())) == len(nodes)
    assert {k: sum(v) for k, v in out.num_sampled_nodes.items()} == {k: len(v) for k, v in out.node.items()}
    assert {k: sum(v) for k, v in out.num_sampled_edges.items()} == {k: len(v) for k, v in out.edge.items()}


@given(logs, st.integers(0, 10_000), st.lists(st.integers(0, 10), min_size=6, max_size=6))
def test_nothing_at_or_after_a_seeds_time_is_in_its_tree(
    log: list[list[tuple[int, int]]], key: int, times: list[int]
) -> None:
    relations = graph(log, 6)
    before = torch.tensor(times[: len(log)])
    seeds = {"user": torch.arange(len(log))}
    out = khop(relations, seeds, {kind: [3, 3, 3] for kind in relations}, key, before={"user": before})
    for kind, rel in relations.items():
        assert rel.time is not None
        tree = out.batch[kind[2]][out.col[kind]]
        assert (rel.time[out.edge[kind]] < before[tree]).all()
        assert (out.batch[kind[0]][out.row[kind]] == tree).all()


@given(logs, st.integers(0, 10_000))
def test_full_fanout_reaches_exactly_the_two_hop_neighbourhood(log: list[list[tuple[int, int]]], key: int) -> None:
    relations = graph(log, 6)
    out = khop(relations, {"user": torch.tensor([0])}, {kind: [50, 50] for kind in relations}, key)
    items = {item for _, item in log[0]}
    users = {u for u, row in enumerate(log) if items & {item for _, item in row}} | {0}
    assert set(out.node["item"].tolist()) == items
    assert set(out.node["user"].tolist()) == users


def test_supervised_pairs_carry_no_message() -> None:
    relations = graph([[(0, 1), (1, 2), (2, 1)], [(0, 1)]], 3)
    pairs = (torch.tensor([0]), torch.tensor([1]))
    exclude = {CLICKS: pairs, CLICKED_BY: pairs[::-1]}
    out = khop(relations, {"user": torch.tensor([0])}, {kind: [9, 9] for kind in relations}, 3, exclude=exclude)
    assert out.node["item"].tolist() == [2]  # both clicks of user 0 on item 1 are left out, in either direction
    assert out.edge[CLICKED_BY].tolist() == relations[CLICKED_BY].indptr[2:3].tolist()


def test_every_subset_is_equally_likely() -> None:
    rel = timed([[(t, t) for t in range(5)]], 5)
    n = 20_000
    rows, sample = torch.zeros(n, dtype=torch.int64), torch.arange(n)
    owner, eid = choose(rel, rows, rel.indptr[rows + 1], 2, 11, sample)
    assert owner.tolist() == torch.arange(n).repeat_interleave(2).tolist()
    seen = Counter(tuple(sorted(pair)) for pair in eid.view(n, 2).tolist())
    assert len(seen) == 10  # all pairs of 5, none with a repeat
    expected = n / 10
    assert sum((count - expected) ** 2 / expected for count in seen.values()) < 27.9  # chi-square, 9 df, p = 0.001


def test_same_key_same_sample_whatever_the_batch() -> None:
    relations = {TOGETHER: timed([[(0, c) for c in range(8)]] * 8, 8)}
    together = khop(relations, {"item": torch.tensor([3, 5])}, {TOGETHER: [3]}, 7)
    alone = khop(relations, {"item": torch.tensor([5])}, {TOGETHER: [3]}, 7)
    mine = together.col[TOGETHER] == 1
    assert sorted(together.edge[TOGETHER][mine].tolist()) == sorted(alone.edge[TOGETHER].tolist())


def test_rows_with_few_edges_give_all_and_draw_no_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    rel = timed([[(0, c) for c in range(n)] for n in (2, 0, 5, 1, 4)], 5)
    rows, drawn = torch.arange(5), []
    real = rng.integers
    monkeypatch.setattr(
        rng, "integers", lambda key, sample, k, high: drawn.append(sample) or real(key, sample, k, high)
    )
    owner, eid = _choose_by_tensors(rel.indptr[rows], rel.indptr[rows + 1], 2, 3, rows * 10)
    assert owner.tolist() == [0, 0, 2, 2, 3, 4, 4]
    assert eid[:2].tolist() == [0, 1] and eid[4] == 7
    assert all(len(set(pair)) == 2 for pair in (eid[2:4].tolist(), eid[5:].tolist()))
    assert (rel.row_index()[eid] == owner).all() and [one.tolist() for one in drawn] == [[20, 40]]


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=8),
    st.integers(1, 5),
    st.integers(0, 2**63 - 1),
    st.lists(st.integers(0, 2**40), min_size=8, max_size=8),
)
def test_compiled_choices_are_those_of_the_tensor_program(
    degrees: list[int], k: int, key: int, samples: list[int]
) -> None:
    rel = timed([[(0, c) for c in range(n)] for n in degrees], 10)
    rows = torch.arange(len(degrees))
    stop, sample = rel.indptr[rows + 1] - (rows % 2), torch.tensor(samples[: len(degrees)])
    ours = choose(rel, rows, stop, k, key, sample)
    theirs = _choose_by_tensors(rel.indptr[rows], stop, k, key, sample)
    assert [x.tolist() for x in ours] == [x.tolist() for x in theirs]


@given(st.lists(st.lists(st.integers(0, 299), max_size=12), max_size=4), st.sets(st.integers(0, 299), max_size=5))
def test_places_are_dealt_in_order_whichever_program_deals_them(found: list[list[int]], seeds: set[int]) -> None:
    compiled, tensors = (SharedNodes(torch.tensor(sorted(seeds), dtype=torch.int64), 300) for _ in range(2))
    known = sorted(seeds)
    for nodes in found:
        col, eid = torch.tensor([7, *nodes], dtype=torch.int32), torch.arange(1, len(nodes) + 1)
        known += sorted(set(nodes) - set(known))
        assert compiled._compiled(col, eid).tolist() == [known.index(n) for n in nodes]
        assert tensors._by_tensors(col, eid).tolist() == [known.index(n) for n in nodes]
    assert compiled.node.tolist() == tensors.node.tolist() == known


def test_many_new_nodes_are_dealt_in_order_too() -> None:
    lots = torch.randint(0, 500, (400,), generator=torch.Generator().manual_seed(0))
    nodes = SharedNodes(torch.tensor([499]), 500)  # so many of them that the table is read instead of sorting
    nodes.add(lots.int(), torch.arange(400), lots)
    assert nodes.node.tolist() == [499, *sorted(set(lots.tolist()) - {499})]


def test_no_timed_relation_is_drawn_by_weights() -> None:
    relations = {TOGETHER: timed([[(0, 1)], [(3, 0)]], 2)}
    with pytest.raises(InputError, match="weighted"):
        khop(relations, {"item": torch.tensor([0])}, {TOGETHER: [1]}, 0, weighted=[TOGETHER])


def test_uneven_hops_are_refused() -> None:
    relations = graph([[(0, 1)]], 2)
    with pytest.raises(InputError, match="as many hops"):
        khop(relations, {"user": torch.tensor([0])}, {CLICKS: [1], CLICKED_BY: [1, 2]}, 0)
