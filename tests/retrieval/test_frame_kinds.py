"""Frames of the caller's kind, with ids as they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from micgraph.retrieval.recommender import Recommender


@pytest.mark.parametrize(
    ("given_kind", "kind"),
    [
        (pd.Series, pd.DataFrame),
        (pl.Series, pl.DataFrame),
        (pa.array, pa.Table),
        (np.array, pd.DataFrame),
        (list, pd.DataFrame),
    ],
)
def test_frames_are_of_the_callers_kind(world, given_kind, kind):
    rec = Recommender(world(1))
    for frame in (
        rec.recommend(given_kind(["u01", "u00"]), k=3),
        rec.similar_users(given_kind(["u01", "u00"]), k=3),
    ):
        assert isinstance(frame, kind)
        users = frame["user_id"].to_pylist() if kind is pa.Table else frame["user_id"].to_list()
        assert users == ["u01"] * 3 + ["u00"] * 3
    lists = [["i01"], ["i02", "i03"]]
    histories = (
        pa.array(lists) if given_kind is pa.array else given_kind(lists) if given_kind is not np.array else lists
    )
    assert isinstance(rec.recommend(histories=histories, k=2), kind)


def test_without_pandas_lists_get_arrow(world, monkeypatch):
    monkeypatch.setattr("micgraph.retrieval.frames.find_spec", lambda name: None)
    assert isinstance(Recommender(world(1)).recommend(["u01"], k=2), pa.Table)


def test_ids_come_back_as_they_were_given(world):
    rec = Recommender(world(1, integer_ids=True))
    table = rec.recommend(pa.array(["u01"]), k=20)
    assert table["item_id"].type == pa.int64() and set(table["item_id"].to_pylist()) <= set(range(1000, 1025))
    triggers = [t for t in table["trigger"].to_pylist() if t and t.startswith("item:")]
    assert triggers and all(1000 <= int(t[5:]) < 1025 for t in triggers)
    assert rec.recommend(histories=[[1003, 1004]], k=2)["item_id"].dtype.kind == "i"
    assert rec.similar_items(1003, k=2)["item_id"].tolist() == [1003, 1003]


def test_repr(world):
    assert repr(Recommender(world(0))) == "Recommender(12 users, 25 items, fusion='mic')"
