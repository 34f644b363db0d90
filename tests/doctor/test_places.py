"""Saved directories: told what they are, and every byte that changes and file that is gone is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import micgraph as mg
from micgraph.doctor.diagnosis import place
from micgraph.doctor.places import examined
from tests.small_refresh import CONFIG, clicks, items, later, users


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``graph`` (two versions), ``held`` out, a ``run`` with what serves it, an ``index``, a ``refreshed`` run."""
    folder = tmp_path_factory.mktemp("saved here")
    log = mg.read_log(clicks(), items=items(12), users=users(8))
    mg.split(log, "leave_last_out").test.save(folder / "held")
    graph = mg.build(log, out=folder / "graph")
    run = mg.train(graph, "gru4rec", config=CONFIG, out=folder / "run", device="cpu", progress=False)
    mg.append(folder / "graph", later())
    rec = mg.Recommender(run)
    rec.save(folder / "run" / "serving")
    rec.retriever.index.save(folder / "index")
    shutil.copytree(folder / "run", folder / "refreshed")
    mg.refresh(folder / "refreshed", later(), device="cpu", progress=False)
    return folder


@pytest.mark.parametrize(
    ("name", "kind", "fact"),
    [
        ("graph", "graph", "2 versions on disk"),
        ("held", "holdout", "8 targets, 114 history events"),
        ("run", "run", "Run gru4rec: "),
        ("run", "run", f"micgraph {mg.__version__}"),
        ("run", "run", "epochs: 1 of 1"),
        ("run/serving", "recommender", "Recommender(8 users, 12 items, fusion='mic')"),
        ("run/best", "checkpoint", "a part of the run"),
        ("index", "index", "12 vectors of 8, metric='ip', kind='torch'"),
        ("refreshed", "run", "refreshed: version 0001-"),
        ("refreshed", "run", "Recommender(9 users, 14 items, fusion='mic')"),
        ("refreshed/serving", "recommender", "Recommender(9 users, 14 items, fusion='mic')"),
    ],
)
def test_what_is_whole_is_told_by_its_kind(made: Path, name: str, kind: str, fact: str) -> None:
    look = examined(made / name)
    assert (look.kind, look.problems) == (kind, [])
    assert any(fact in line for line in look.facts), look.facts


@pytest.mark.parametrize("name", ["graph", "held", "index", "run", "refreshed"])
def test_every_changed_byte_and_every_missing_file_is_found(made: Path, name: str, tmp_path: Path) -> None:
    copy = tmp_path / name
    shutil.copytree(made / name, copy)
    files = [path for path in copy.rglob("*") if path.is_file() and path.stat().st_size]
    for path in files:
        whole = path.read_bytes()
        at = len(whole) // 2
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert examined(copy).problems, f"{path.relative_to(copy)} has another byte"
        path.unlink()
        assert examined(copy).problems, f"{path.relative_to(copy)} is gone"
        path.write_bytes(whole)
    assert len(files) > 2 and examined(copy).problems == []


def test_an_earlier_version_counts_too_and_several_problems_are_told(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "graph"
    shutil.copytree(made / "graph", copy)
    for version in copy.glob("0*"):
        (version / "items.parquet").write_bytes(b"nothing")
    problems = examined(copy).problems
    assert len(problems) == 2 and all("the checksum that was saved" in problem for problem in problems)


def test_a_graph_and_what_serves_a_run_must_belong_to_it(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    shutil.rmtree(run / "graph")
    moved = clicks().assign(timestamp=clicks()["timestamp"] + 5)
    mg.build(mg.read_log(moved, items=items(12), users=users(8)), out=run / "graph")
    (problem,) = examined(run).problems
    assert "expected the graph that the run was trained on, got another; restore the directory" in problem
    run = tmp_path / "again"
    shutil.copytree(made / "run", run)
    other = {**CONFIG, "training": {"epochs": 2}}
    mg.train(mg.load_run(run).graph, "gru4rec", config=other, out=run, device="cpu", progress=False)
    (problem,) = examined(run).problems
    assert problem == (
        f"{run / 'serving'}: expected what serves the run as it is, got another weights; "
        f"save it again: micgraph index {run}, or Recommender(run).save(...)"
    )


def test_added_items_and_lines_of_metrics(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    rec = mg.Recommender.load(run / "serving")
    rec.add_items([{"item_id": "new", "category": "crime", "year": 2001.0}])
    rec.save(run / "serving")
    look = examined(run)
    assert look.problems == [] and "index torch, 1 items added" in look.facts
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": \n')
    (problem,) = examined(run).problems
    assert "metrics.jsonl: expected JSON in every line, got something else in line 2" in problem


def test_a_run_without_weights_says_how_it_goes_on(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made / "run", run)
    shutil.rmtree(run / "best")
    (problem,) = examined(run).problems
    assert "got one whose first epoch has not ended; repeat the call of train" in problem


def test_what_is_not_saved_by_micgraph(made: Path, tmp_path: Path) -> None:
    (several,) = examined(made).problems
    assert several.endswith("got one that holds graph, held, index, refreshed, run; pass one of them")
    (empty,) = examined(tmp_path).problems
    assert "got a directory without the file 'current'" in empty
    (file,) = examined(next((made / "held").glob("0*/targets.parquet"))).problems
    assert "expected a directory saved by micgraph, got a file; pass the directory" in file


def test_a_store_of_live_clicks(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb", reason="live histories need lmdb (the extra serve)")
    graph = mg.build(mg.read_log(clicks()))
    run = mg.train(graph, "gru4rec", config=CONFIG, device="cpu", progress=False)
    with mg.LmdbStore(tmp_path / "live", size=5) as store:
        rec = mg.Recommender(run, store=store)
        rec.observe(["u1", "u1", "u2"], ["i1", "i2", "i3"], [1, 2, 3])
        found = place(tmp_path / "live")  # while it is open: LMDB wants another process then
        assert (found.problems, found.facts) == ((), ("3 events of 2 users, up to 5 each",))
    env = lmdb.open(str(tmp_path / "live"), max_dbs=2)
    with env.begin(write=True, db=env.open_db(b"histories")) as txn:
        user, history = next(iter(txn.cursor()))
        txn.put(user, history[16:] + history[:16])
    env.close()
    look = examined(tmp_path / "live")
    assert look.kind == "store of live clicks" and "got a damaged one of the user with key" in look.problems[0]


def test_a_path_is_looked_at_in_a_process_of_its_own(made: Path) -> None:
    found = place(made / "index")
    assert (found.kind, found.problems) == ("index", ())
    assert str(found).splitlines()[0] == f"{made / 'index'}: index, whole"
    assert found.facts == ("VectorIndex(12 vectors of 8, metric='ip', kind='torch')",)


def test_a_path_with_nothing_of_ours_is_not_called_damaged(tmp_path: Path) -> None:
    found = place(tmp_path / "missing")
    assert str(found).splitlines()[0] == f"{tmp_path / 'missing'}: nothing that micgraph saved" and found.problems
