"""What the tests of batches share: a small graph, its samplers, and its rows as loops read them."""

from __future__ import annotations

from hypothesis import strategies as st

from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Batch, Requires
from micgraph.sampling.samples import SamplingConfig
from tests.toy import Rows, toy_graph

N_ITEMS = 7


click = st.tuples(st.integers(0, 12), st.integers(0, N_ITEMS - 1))


user_rows = st.lists(
    st.lists(click, max_size=9).map(lambda row: sorted(row, key=lambda c: c[0])), min_size=1, max_size=5
)


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


def read(batch: Batch, line: int, until: int | None = None) -> list[int]:
    """Global items of one history, up to and with position ``until``."""
    length = int(batch.mask[line].sum())
    assert batch.mask[line, :length].all() and (batch.history[line, length:] == -1).all()
    upto = length if until is None else until + 1
    return batch.items[batch.history[line, :upto]].tolist()
