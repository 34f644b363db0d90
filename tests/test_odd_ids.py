"""Ids with anything in them, from a log to recommendations and back: exactly what was given, in its own type."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import micgraph
from tests.saved import QUIET

FAST = {"model": {"dim": 4, "history": 4}, "training": {"epochs": 1}}
TEXTS = [
    *("", " ", "\t", " a", "a ", "a", "A", "é", "e\u0301", "😀👩\u200d👩", "שלום\u200f", "\ufeffa"),
    *("nan", "NaN", "None", "NULL", "null", "NaT", "true", "007", "7", "7.0", "1e5", "-0"),
    *("a\x00b", "a\x00", "it's", '"q"', "a,b", "a\nb", "a;b", "%s {x}", "\\", "x" * 10_000, "x" * 9_999 + "y"),
]
WIDE = [np.iinfo(np.int64).min, np.iinfo(np.int64).max, -1, 0, 2**53, 2**53 + 1, -(2**31) - 1, *range(7, 16)]
KINDS: dict[str, tuple[pa.DataType, list[Any], Any]] = {
    "texts": (pa.string(), TEXTS, "new\x00"),
    "int64": (pa.int64(), WIDE, np.iinfo(np.int64).max - 1),
    "int8": (pa.int8(), [-128, 127, *range(14)], 100),
    "uint64": (pa.uint64(), [0, 2**63 - 1, 2**53 + 1, *range(1, 14)], 99),
    "UUIDs": (pa.uuid(), [UUID(int=n * 2**100 + 3) for n in range(16)], UUID(int=77)),
}


def column(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if kind == pa.uuid():
        return pa.ExtensionArray.from_storage(kind, pa.array([value.bytes for value in values], pa.binary(16)))
    return pa.array(values, kind)


def log(kind: pa.DataType, ids: list[Any], start: int) -> pa.Table:
    """Every id is a user and an item; a user's clicks are some hours apart."""
    draw = np.random.default_rng(start)
    pairs = [(user, int(item)) for user in range(len(ids)) for item in draw.choice(len(ids), 4, replace=False)]
    pairs += [(number, number) for number in range(len(ids))]
    times = [(start + 7_200 * place) * 10**6 for place in range(len(pairs))]
    users, items = ([ids[pair[side]] for pair in pairs] for side in (0, 1))
    columns = {"user_id": column(kind, users), "item_id": column(kind, items)}
    return pa.table(columns | {"timestamp": pa.array(times, pa.timestamp("us", "UTC"))})


@pytest.mark.parametrize("name", KINDS)
def test_a_journey(name: str, tmp_path: Path) -> None:
    kind, ids, new = KINDS[name]
    clicks = log(kind, ids, 10**9)
    read = micgraph.read_log(clicks)
    assert len(read) == len(clicks) and not read.refused
    pq.write_table(clicks, tmp_path / "log.parquet")
    assert micgraph.read_log(tmp_path / "log.parquet").arrow() == read.arrow()
    split = micgraph.split(read, "leave_last_out")
    split.test.save(tmp_path / "test")
    assert micgraph.Holdout.load(tmp_path / "test").targets.arrow() == split.test.targets.arrow()
    micgraph.build(read, out=tmp_path / "graph")
    graph = micgraph.RecGraph.load(tmp_path / "graph")
    for known in (graph.users, graph.items):
        assert known is not None and known.values.type == kind and sorted(known.values.to_pylist()) == sorted(ids)
    micgraph.train(graph, "gru4rec", config=FAST, out=tmp_path / "run", **QUIET)
    micgraph.Recommender(micgraph.load_run(tmp_path / "run")).save(tmp_path / "run" / "serving")
    _serve(micgraph.Recommender.load(tmp_path / "run" / "serving"), kind, ids, new)
    appended = micgraph.append(tmp_path / "graph", log(kind, [*ids, new], 2 * 10**9 - 10**7))
    assert appended.users is not None and appended.users.values.to_pylist()[-1] == new
    assert appended.users.values[: len(ids)] == graph.users.values  # type: ignore[union-attr]
    later = log(kind, ids, 2 * 10**9 - 10**7)
    assert micgraph.refresh(tmp_path / "run", later, {"training": {"epochs": 1}}, **QUIET).new["users"] == 0


def _serve(served: micgraph.Recommender, kind: pa.DataType, ids: list[Any], new: Any) -> None:
    asked = column(kind, ids)
    found = served.recommend(asked, k=2, filter_seen=False)
    assert found["user_id"].type == found["item_id"].type == kind
    assert found["user_id"].to_pylist() == [one for one in ids for _ in range(2)]
    assert set(found["item_id"].to_pylist()) <= set(ids)
    assert served.similar_items(asked, k=1)["item_id"].to_pylist() == ids
    assert served.recommend(histories=[[one] for one in ids], k=1)["item_id"].isin(ids).all()
    best = found["item_id"].to_pylist()[0]
    assert served.explain(ids[0], best, k=2, filter_seen=False)
    served.add_items([{"item_id": new}])
    assert served.similar_items(column(kind, [new]), k=1)["item_id"].to_pylist() == [new]


@pytest.mark.parametrize("name", KINDS)
def test_live_clicks(name: str, tmp_path: Path) -> None:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    kind, ids, _ = KINDS[name]
    graph = micgraph.build(log(kind, ids, 10**9))
    run = micgraph.train(graph, "gru4rec", config=FAST, **QUIET)
    with micgraph.LmdbStore(tmp_path / "store") as store:
        served = micgraph.Recommender(run, store=store)
        served.observe(column(kind, ids), column(kind, ids[::-1]), [2 * 10**9] * len(ids))
        found = served.recommend(column(kind, ids), k=len(ids) - 6, filter_seen=True)
        seen = set(zip(ids, ids[::-1], strict=True))
        assert not seen & set(zip(found["user_id"].to_pylist(), found["item_id"].to_pylist(), strict=True))


def test_integers_that_no_store_has_a_place_for_are_refused_there_alone(tmp_path: Path) -> None:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    ids = [2**63, 2**64 - 1, *range(14)]
    graph = micgraph.build(log(pa.uint64(), ids, 10**9))
    run = micgraph.train(graph, "gru4rec", config=FAST, **QUIET)
    found = micgraph.Recommender(run).recommend(column(pa.uint64(), ids), k=1)
    assert found["user_id"].to_pylist() == ids and found["item_id"].type == pa.uint64()
    with (
        micgraph.LmdbStore(tmp_path / "store") as store,
        pytest.raises(micgraph.InputError, match=r"integers below 2\*\*63"),
    ):
        micgraph.Recommender(run, store=store)


def test_texts_of_a_csv_file(tmp_path: Path) -> None:
    """An empty field is no id, as nothing tells it from a missing one; everything else is what is written there."""
    written = [text for text in TEXTS if "\x00" not in text and text]
    rows = pd.DataFrame({"user_id": written, "item_id": written, "timestamp": np.arange(len(written)) + 10**9})
    rows.to_csv(tmp_path / "log.csv", index=False)
    found = micgraph.read_log(tmp_path / "log.csv")
    assert sorted(found.arrow()["user_id"].to_pylist()) == sorted(written) and not found.refused
