"""A build with bounded memory against brute force: parts, limits, threads, files and order of rows change no byte."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import micgraph as mg
from micgraph.graph import builder, cooccurrence, ingest
from micgraph.graph.relation import Relation
from micgraph.schema import ConfigError, InputError
from tests.brute_force import Event, event, oracle, rows, table, tensors


@settings(max_examples=15)
@given(
    st.lists(event, min_size=1, max_size=25),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, 1, 2, 6, 12]),
    st.sampled_from([1, 2, 7]),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_nothing_but_the_log_matters(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[Event],
    top_k: int | None,
    max_pairs: int | None,
    part: int,
    threads: int,
    random: Any,
) -> None:
    config = {"co_occurs_top_k": top_k, "max_pairs_per_session": max_pairs}
    plain = mg.build(mg.read_log(table(events), time_unit="s"), config).validate()
    for name, expected in oracle(events, top_k, max_pairs).items():
        assert rows(plain.relation(name)) == expected, name
    folder = tmp_path_factory.mktemp("log")
    random.shuffle(events)
    half = random.randrange(len(events))
    for name, some in zip(random.sample("abc", 2), (events[:half], events[half:]), strict=True):
        pq.write_table(table(some) if some else table(events)[:0], folder / f"{name}.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "part_rows", lambda limit: part)
        patch.setattr(cooccurrence, "WORK", part)
        patch.setattr(torch, "get_num_threads", lambda: threads)
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        log = mg.read_log(str(folder / "*.parquet"), time_unit="s", memory_limit="300MB")
        log.con.execute(f"SET threads = {threads}")
        graph = mg.build(log, config | {"memory_limit": "300MB"}, random.choice([None, folder / "graph"]))
        del log
    assert tensors(graph) == tensors(plain)
    assert (graph.epoch, graph.refused) == (plain.epoch, plain.refused)
    gc.collect()
    assert {p.name for p in folder.iterdir()} <= {"a.parquet", "b.parquet", "c.parquet", "graph"}


@pytest.mark.parametrize("limit", [None, "300MB"])
def test_at_most_eight_bytes_an_edge(tiny_log: Any, tmp_path: Path, limit: str | None) -> None:
    log = mg.read_log(tiny_log.clicks, items=tiny_log.items, memory_limit=limit)
    graph = mg.build(log, {"memory_limit": limit, "co_occurs_top_k": 5}, tmp_path / "graph")
    for found in (graph, mg.RecGraph.load(tmp_path / "graph")):
        assert set(found.relations) == {"clicks", "has", "contains", "co_occurs", "similar"}
        for rel in found.relations.values():
            edges = [values for name, values in rel.tensors().items() if name != "indptr"]
            assert rel.n_edges > 0 and sum(values.element_size() for values in edges) <= 8


def test_cut_sessions_are_shown(tiny_log: Any) -> None:
    graph = mg.build(tiny_log.clicks, {"max_pairs_per_session": 5})
    sizes = [len(set(row)) for row in columns(graph.relation("contains"))]
    cut = sum(n * (n - 1) > 5 for n in sizes)
    assert cut > 0 and graph.refused["session cut: more pairs than max_pairs_per_session"] == cut
    left_out = sum(n * (n - 1) for n in sizes) - int(graph.relation("co_occurs").weight().sum())
    assert graph.refused["pair of items of a cut session, too far apart"] == left_out
    assert "too far apart" in str(graph.summary())


def columns(rel: Relation) -> list[list[int]]:
    bounds = rel.indptr.tolist()
    return [rel.col[a:b].tolist() for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def test_nothing_is_left_after_an_error(tiny_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(builder, "co_occurrences", broken)
    log = mg.read_log(tiny_log.clicks)
    tables = len(log.con.execute("SHOW TABLES").fetchall())
    for out in (None, tmp_path / "new" / "graph"):
        with pytest.raises(OSError, match="disk is full"):
            mg.build(log, {"memory_limit": "1GB"}, out)
        assert not list(tmp_path.iterdir())
    assert len(log.con.execute("SHOW TABLES").fetchall()) == tables


def test_an_unreadable_log_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError):
        mg.read_log(tmp_path / "nowhere.parquet", memory_limit="1GB")
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_the_database_has_its_share_of_the_limit() -> None:
    con = ingest.connect("2GB")
    assert con.execute("SELECT current_setting('memory_limit')").fetchall() == [("953.6 MiB",)]


@pytest.mark.parametrize("value", ["4", "much", "-1GB", "0GB", "100MB", 4])
def test_limits_that_are_none(value: Any, tiny_log: Any) -> None:
    for use in (lambda: mg.BuildConfig(memory_limit=value), lambda: mg.read_log(tiny_log.clicks, memory_limit=value)):
        with pytest.raises(ConfigError, match="^memory_limit: expected"):
            use()
