"""Paths with anything in their names, through every public function that takes one."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import micgraph
from micgraph.graph import ingest
from micgraph.knn import VectorIndex
from tests.saved import DAY, QUIET, Saved

pytest.importorskip("faiss", reason="the cpu extra is not installed")
pytest.importorskip("lmdb", reason="the serve extra is not installed")

FAST = {"model": {"dim": 4, "history": 4}, "training": {"epochs": 1}, "fusion": {"index": "faiss_hnsw"}}
NAMES = [
    "ünï çødé 漢字 😀",
    'it\'s "quoted"; -- 100%s {x} $HOME #1?',
    "[ab] [!c] **",
    "-rf",
    "~root",
    "x" * 200,
    "user_id=7",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_journey(name: str, saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With relative paths as texts."""
    monkeypatch.chdir(tmp_path)
    os.mkdir(name)

    def here(file: str) -> str:
        return os.path.join(name, file)

    folder = Path(name).absolute()  # pandas takes ~root for a home
    saved.early.to_parquet(folder / "clicks [1].parquet")
    saved.late.to_parquet(folder / "clicks 1.parquet")  # what the pattern would find
    saved.items.to_csv(folder / "items.csv", index=False)
    log = micgraph.read_log(here("clicks [1].parquet"), items=Path(name) / "items.csv")
    assert len(log) == len(saved.early) and sorted(log.arrow()["user_id"].unique().to_pylist())[0] == "u0"
    split = micgraph.split(log, "temporal", test="1d")
    split.test.save(here("test"))
    assert micgraph.Holdout.load(Path(name) / "test").targets.arrow() == split.test.targets.arrow()
    micgraph.build(split.train, {"memory_limit": "256MB"}, here("graph"))
    micgraph.append(here("graph"), here("clicks 1.parquet"))
    graph = micgraph.RecGraph.load(here("graph"))
    run = micgraph.train(graph, "gru4rec", config=FAST, out=here("run"), **QUIET)
    run.save(here("copy"))
    micgraph.Recommender(run).save(here("run/serving"))
    refreshed = micgraph.refresh(
        here("run"),
        saved.late.assign(timestamp=saved.late["timestamp"] + DAY),
        config={"training": {"epochs": 1}},
        **QUIET,
    )
    assert refreshed.swapped and refreshed.new["clicks"]
    with micgraph.LmdbStore(here("store")) as store:
        served = micgraph.Recommender.load(here("run/serving"), store=store)
        served.observe("u0", "i0", 1_800_000_000)
        assert len(served.recommend(["u0"], k=3, filter_seen=False)) == 3
    VectorIndex(graph.relations["clicks"].indptr[:40].float()[:, None].repeat(1, 4), "ip", "faiss_ivf").save(
        here("index")
    )
    assert len(VectorIndex.load(here("index"))) == min(40, graph.n_users + 1)
    assert (
        micgraph.inspect(graph).save_page(here("page.html")).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    )
    Path(here("config.yaml")).write_text("training: {epochs: 1}\n", encoding="utf-8")
    assert micgraph.train(graph, "gru4rec", config=here("config.yaml"), warm_start=here("copy"), **QUIET).origin


def test_a_link_is_followed(saved: Saved, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(saved.folder)
    assert micgraph.RecGraph.load(tmp_path / "link" / "graph").fingerprint() == saved.graph.fingerprint()
    assert len(micgraph.Recommender.load(tmp_path / "link" / "run" / "serving").recommend(["u1"], k=2)) == 2


def test_a_file_is_not_taken_for_a_pattern_nor_its_folder_for_a_column(tmp_path: Path) -> None:
    """DuckDB reads ``c [1].csv`` as a pattern that ``c 1.csv`` fits, and a folder ``user_id=7`` as a column."""
    folder = tmp_path / "user_id=7"
    folder.mkdir()
    for name, item in (("c [1].parquet", 1), ("c 1.parquet", 2), ("c[12]?.parquet", 3)):
        rows = {"user_id": [1, 2], "item_id": [item, item], "timestamp": [1_700_000_000, 1_700_000_001]}
        pq.write_table(pa.table(rows), folder / name)
    con = ingest.connect()
    for name, item in (("c [1].parquet", 1), ("c 1.parquet", 2), ("c[12]?.parquet", 3)):
        found = con.execute(f"SELECT user_id, item_id FROM {ingest.parquet_file(folder / name)}").fetchall()
        assert found == [(1, item), (2, item)]
    assert con.execute(f"SELECT count(*) FROM {ingest.parquet(folder)}").fetchall() == [(6,)]
