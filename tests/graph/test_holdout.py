"""Holdouts on disk: what comes back is what was saved, of the same types, or a named error."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pyarrow as pa
import pytest

from micgraph.evaluation import prepare
from micgraph.graph.builder import build
from micgraph.graph.events import read_log
from micgraph.graph.split import Holdout, split
from micgraph.schema import ArtifactError

IDS = {
    "text": lambda number: f"u'{number}",
    "integer": lambda number: 2**40 + number,
    "uuid": lambda number: UUID(int=number),
}


def _log(make_id: Any) -> Any:
    rows = [(make_id(n % 7), n % 5, 1_700_000_000 + 3_600 * n, n, n % 3, 0.5 + n) for n in range(70)]
    return read_log(_table(rows))


def _table(rows: list[tuple]) -> pa.Table:
    names = ["user_id", "item_id", "timestamp", "ordinal", "session_id", "weight"]
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    if isinstance(rows[0][0], UUID):
        columns["user_id"] = pa.array(columns["user_id"], pa.uuid())
    return pa.table(columns)


@pytest.mark.parametrize("kind", IDS)
def test_what_was_saved_comes_back(kind: str, tmp_path: Path) -> None:
    parts = split(_log(IDS[kind]), "temporal", test="10h", valid="5h")
    path = tmp_path / "it's a holdout"
    for held_out in (parts.valid, parts.test):
        assert held_out is not None
        held_out.save(path)
        loaded = Holdout.load(path)
        assert loaded.manifest == held_out.manifest
        for name in ("histories", "targets"):
            mine, theirs = getattr(held_out, name), getattr(loaded, name)
            assert (
                mine.columns == theirs.columns == ("user_id", "item_id", "timestamp", "ordinal", "session_id", "weight")
            )
            assert mine.arrow().equals(theirs.arrow())


def test_a_loaded_holdout_prepares_the_same_data(tiny_log: Any, tmp_path: Path) -> None:
    parts = split(read_log(tiny_log.clicks, items=tiny_log.items), "user_holdout")
    graph = build(parts.train)
    parts.test.save(tmp_path / "test")
    here, there = prepare(parts.test, graph), prepare(Holdout.load(tmp_path / "test"), graph)
    assert here.counts == there.counts
    assert here.user_ids.equals(there.user_ids)
    assert here.histories.items.tolist() == there.histories.items.tolist()
    assert here.clicks.items.tolist() == there.clicks.items.tolist()


def test_saving_leaves_other_directories_alone(tiny_log: Any, tmp_path: Path) -> None:
    parts = split(read_log(tiny_log.clicks), "leave_last_out")
    build(parts.train, out=tmp_path / "graph")
    before = sorted(p for p in tmp_path.rglob("*"))
    with pytest.raises(ArtifactError, match="a saved graph"):
        parts.test.save(tmp_path / "graph")
    with pytest.raises(ArtifactError, match="a saved graph"):
        Holdout.load(tmp_path / "graph")
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_a_changed_file_is_found(tiny_log: Any, tmp_path: Path) -> None:
    split(read_log(tiny_log.clicks), "leave_last_out").test.save(tmp_path / "test")
    (targets,) = tmp_path.rglob("targets.parquet")
    pd.DataFrame({"user_id": ["u0"], "item_id": ["i0"], "timestamp": [0], "ordinal": [0]}).to_parquet(targets)
    with pytest.raises(ArtifactError, match="checksum"):
        Holdout.load(tmp_path / "test")
