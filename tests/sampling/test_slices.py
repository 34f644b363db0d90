"""Slices of a batch are a partition of its queries, and take along what is theirs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from micgraph.ranks import Ranks
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Batch, Requires
from micgraph.sampling.samples import SamplingConfig
from micgraph.sampling.slices import at_a_time, part, shares
from micgraph.tasks.spread import Spread
from tests.toy import random_rows, toy_graph

GRAPH = toy_graph(random_rows(n_users=20, n_items=14), 14)
EVERYTHING = [
    Requires(negatives=("uniform", 9), target_mask="negatives", window=3, other_stretch=True),
    Requires(target_mask="batch", item_anchors=True),
    Requires(full=True, target_mask="items"),
]


def a_batch(samples: str, size: int = 13, lots: int = 2) -> Batch:
    config = SamplingConfig(samples=samples, batch_size=size, anchors_per_query=lots)
    return BatchSampler(GRAPH, config, EVERYTHING, 4).batch(0, 0)


@given(st.integers(0, 40), st.integers(1, 9))
def test_shares_are_even_and_leave_nothing_out(n: int, parts: int) -> None:
    found = [list(range(one.start, one.stop)) for one in shares(n, parts)]
    assert len(found) == parts and sum(found, []) == list(range(n))
    sizes = [len(one) for one in found]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 9), st.integers(0, 30), st.integers(1, 9))
def test_so_many_at_a_time(start: int, n: int, size: int) -> None:
    found = [list(range(one.start, one.stop)) for one in at_a_time(slice(start, start + n), size)]
    assert sum(found, []) == list(range(start, start + n))
    assert all(len(one) == size for one in found[:-1]) and all(0 < len(one) <= size for one in found)
    assert at_a_time(slice(start, start + n), 0) == [slice(start, start + n)]


@pytest.mark.parametrize("samples", ["positions", "clicks", "users"])
@given(ranks=st.integers(1, 5), queries=st.integers(0, 6))
def test_no_query_is_encoded_twice_and_none_is_left_out(samples: str, ranks: int, queries: int) -> None:
    batch = BATCHES[samples]
    plan = Spread(Ranks(0, ranks), queries).plan(batch)
    assert len(plan) == ranks
    rows, pairs, anchors = [], [], []
    for own in plan:
        for piece in own:
            mine = part(batch, piece)
            assert not queries or len(mine) <= queries
            rows += mine.sample.tolist()
            pairs += (mine.pair_row + piece.rows.start).tolist()
            anchors += (mine.anchor + piece.pairs.start).tolist()
            assert set(mine.pair_row.tolist()) <= set(range(len(mine)))
            assert set(mine.anchor.tolist()) <= set(range(len(mine.target)))
    assert rows == batch.sample.tolist() and pairs == batch.pair_row.tolist() and anchors == batch.anchor.tolist()


@pytest.mark.parametrize("samples", ["positions", "clicks"])
def test_a_part_has_what_its_queries_have(samples: str) -> None:
    """Query by query, looked up in the whole batch."""
    batch = BATCHES[samples]
    for own in Spread(Ranks(0, 3), 2).plan(batch):
        for piece in own:
            mine = part(batch, piece)
            assert torch.equal(mine.items, batch.items) and torch.equal(mine.distinct_target, batch.distinct_target)
            for row in range(len(mine)):
                (place,) = (batch.sample == mine.sample[row]).nonzero()[:, 0].tolist()
                for name in ("user", "history", "mask", "gap", "target_clicked", "item_clicked", "other", "other_mask"):
                    assert torch.equal(getattr(mine, name)[row], getattr(batch, name)[place]), name
                kind = ("uniform", 9)
                assert torch.equal(mine.clicked[kind][row], batch.clicked[kind][place])
                here, there = mine.pair_row == row, batch.pair_row == place
                for name in ("target", "target_place", "window", "pair_at"):
                    if getattr(batch, name) is not None:
                        assert torch.equal(getattr(mine, name)[here], getattr(batch, name)[there]), name


BATCHES = {samples: a_batch(samples) for samples in ("positions", "clicks", "users")}
