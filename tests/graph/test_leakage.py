"""Held-out events among the clicks of a graph, against a loop over both."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from micgraph.graph.leakage import among_clicks
from tests.toy import Rows, timed

ROWS = st.lists(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=6).map(sorted), min_size=1, max_size=4
)
EVENTS = st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 5), st.integers(-3, 8)), max_size=12)


@given(ROWS, EVENTS)
def test_events_are_found_by_user_item_and_second(rows: Rows, events: list[tuple[int, int, int]]) -> None:
    columns = np.array(events, dtype=np.int64).reshape(-1, 3).T
    exact, at_all = among_clicks(timed(rows, 4), *columns)
    clicks = {(user, item, time) for user, row in enumerate(rows) for time, item in row}
    assert exact.tolist() == [event in clicks for event in events]
    assert at_all.tolist() == [event[:2] in {click[:2] for click in clicks} for event in events]
