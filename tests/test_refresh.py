"""micgraph refresh: what it makes is what its steps make, and RUN changes at once or not at all."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import micgraph as mg
from micgraph import artifact, refreshing, versions
from micgraph.schema import InputError
from micgraph.training import BEST, load_weights
from tests.small_refresh import CONFIG, LATER, clicks, items, later, users


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch, trained once."""
    folder = tmp_path_factory.mktemp("refresh")
    graph = mg.build(mg.read_log(clicks(), items=items(12), users=users(8)), out=folder / "graph")
    mg.train(graph, "youtube_dnn", config=CONFIG, out=folder / "run", device="cpu", progress=False)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def served(run: Path) -> Path:
    """Save what serves the run, as ``micgraph index`` does."""
    mg.Recommender(mg.load_run(run)).save(run / "serving")
    return run


def refreshed(run: Path, log: Any = None) -> mg.Refreshed:
    return mg.refresh(run, later() if log is None else log, device="cpu", progress=False)


def on_disk(run: Path) -> dict[str, int]:
    """Every file but the lock, and when it was written."""
    return {str(p): p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file() and p.name != "lock"}


def answer(run: Path) -> pd.DataFrame:
    return mg.Recommender.load(run / "serving").recommend(["u1", "u2", "u5"], k=6)


def test_what_serves_a_run_is_no_run(run: Path) -> None:
    with pytest.raises(InputError, match=rf"run: .*what serves one; pass {run}"):
        refreshed(run / "serving")


def test_what_was_refused_is_told(run: Path) -> None:
    hour = clicks(hour=1)
    hour.loc[[1, 4], "user_id"] = None
    found = refreshed(run, mg.read_log(hour))
    assert found.new["clicks"] == LATER - 2
    assert any("user_id" in reason and count == 2 for reason, count in found.refused.items())
    assert any("without" in reason and count == 2 for reason, count in found.refused.items())  # no rows of new items
    assert all(count > 0 for count in found.refused.values())


def test_a_refresh_is_append_warm_start_and_index(run: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "graph", tmp_path / "graph")
    graph = mg.append(tmp_path / "graph", later())
    by_hand = mg.train(graph, warm_start=run, config={"training": {"epochs": 1}}, device="cpu", progress=False)
    before = on_disk(run)
    found = refreshed(run)
    assert found.swapped and list(found.seconds) == list(refreshing.STAGES)
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert found.new == {"clicks": LATER, "users": 1, "items": 2}
    assert before.items() <= on_disk(run).items()  # what train wrote stays
    again = mg.load_run(run)
    assert again.directory == found.run.directory and again.graph.fingerprint() == graph.fingerprint()
    weights, expected = (load_weights(one.directory / BEST) for one in (again, by_hand))
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    people = ["u1", "u5", "new user"]
    rows = mg.Recommender(by_hand).recommend(people, k=6)
    for rec in (mg.Recommender.load(found.serving), mg.Recommender(again)):
        pd.testing.assert_frame_equal(rec.recommend(people, k=6), rows)
    assert again.origin is not None and again.origin.name == "youtube_dnn"


def test_the_next_refresh_begins_with_the_last_one(run: Path) -> None:
    first = refreshed(served(run))
    second = refreshed(run, later(hour=2))
    assert second.run.origin is not None and second.run.origin.graph == first.run.graph.fingerprint()
    assert second.run.origin.weights == artifact.checksum(first.run.directory / BEST)
    third = refreshed(run, later(hour=3))
    kept = artifact.versions(run / versions.REFRESHED)
    assert kept == [second.run.directory, third.run.directory] == sorted((run / versions.REFRESHED).glob("0*"))
    assert mg.load_run(second.run.directory).graph.fingerprint() == second.run.graph.fingerprint()
    with pytest.raises(mg.ArtifactError, match="not refreshed"):
        mg.train(third.run.graph, "youtube_dnn", config=CONFIG, out=run, device="cpu", progress=False)


def test_a_log_without_anything_new_changes_nothing(run: Path) -> None:
    log = mg.read_log(clicks().iloc[::-1], items=items(12), users=users(8))
    before = on_disk(run)
    found = refreshed(run, log)
    assert not found.swapped and list(found.seconds) == ["append"] and not any(found.new.values())
    assert on_disk(run) == before and found.run.directory == run
    rows = items(14)  # rows of items that nobody has clicked are something new: a later click will need them
    assert refreshed(run, mg.read_log(clicks(), items=rows)).swapped
    assert not refreshed(run, mg.read_log(clicks(), items=rows)).swapped


def test_what_is_wrong_is_named_and_changes_nothing(run: Path, tmp_path: Path) -> None:
    before = on_disk(run)
    numbers = clicks(hour=1).assign(item_id=7)
    for log, error, said in (
        (numbers, mg.SchemaError, "item_id"),
        (clicks(hour=1).iloc[:0], mg.InputError, "event"),
        (tmp_path / "none.parquet", mg.MicgraphError, "none.parquet"),
        (mg.split(mg.read_log(clicks()), "leave_last_out"), mg.InputError, "whole split"),
    ):
        with pytest.raises(error, match=said):
            refreshed(run, log)
    with pytest.raises(mg.ConfigError, match=r"model\.dim"):
        mg.refresh(run, later(), {"model": {"dim": 4}}, device="cpu", progress=False)
    with pytest.raises(mg.ArtifactError, match="nowhere"):
        refreshed(tmp_path / "nowhere")
    with pytest.raises(mg.InputError, match="directory of a run"):
        refreshed(mg.load_run(run))  # type: ignore[arg-type]
    with refreshing._alone(run), pytest.raises(mg.ArtifactError, match="one refresh at a time"):
        refreshed(run)
    assert on_disk(run) == before and not list((run / versions.REFRESHED).glob("*"))
    assert refreshed(run).swapped


STAGES = {
    "append": (refreshing, "appended"),
    "training": (refreshing, "train"),
    "indexing": (refreshing, "Retriever"),
    "serving": (refreshing.saving, "save"),
    "manifest": (artifact, "point"),
    "swap": (artifact.os, "replace"),
}


class Killed(BaseException):
    """Nobody catches it."""


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_any_stage_the_old_version_is_there(run: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """As after a kill, nothing is removed any more: whatever lies there, readers see the old version."""
    place, name = STAGES[stage]
    refreshed(served(run))
    old, rows = mg.load_run(run), answer(run)
    done = getattr(place, name)

    def killed(*given: Any, **named: Any) -> Any:
        pointer = run / versions.REFRESHED / artifact.POINTER
        if stage == "swap" and Path(given[1]) != pointer or stage == "manifest" and given[0] != pointer.parent:
            return done(*given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, name, killed)
        patch.setattr(shutil, "rmtree", lambda *given, **named: None)
        with pytest.raises(Killed):
            refreshed(run, later(hour=2))
    now = mg.load_run(run)
    assert now.directory == old.directory and now.graph.fingerprint() == old.graph.fingerprint()
    pd.testing.assert_frame_equal(answer(run), rows)
    found = refreshed(run, later(hour=2))
    assert found.swapped and found.new["clicks"] == LATER
    left = {p.name for p in (run / versions.REFRESHED).iterdir()}
    assert left == {artifact.POINTER, old.directory.name, found.run.directory.name}


def test_sigkill_before_the_swap_leaves_the_old_version(run: Path, tmp_path: Path) -> None:
    rows = answer(served(run))
    clicks(hour=1).to_parquet(tmp_path / "later.parquet")
    code = (
        "import os, signal, micgraph as mg\n"
        "rename = os.replace\n"
        "def last(a, b):\n"
        "    if str(b).endswith('refreshed/current'): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    rename(a, b)\n"
        "os.replace = last\n"
        f"mg.refresh({str(run)!r}, {str(tmp_path / 'later.parquet')!r}, device='cpu', progress=False)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[1], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(list((run / versions.REFRESHED).glob("0001-*/serving/current"))) == 1  # it was whole but for the swap
    assert mg.load_run(run).directory == run
    pd.testing.assert_frame_equal(answer(run), rows)
    assert refreshed(run).swapped and mg.load_run(run).directory != run
    assert len(list((run / versions.REFRESHED).iterdir())) == 2


def test_what_serves_keeps_its_settings_and_added_items(run: Path) -> None:
    rec = mg.Recommender(mg.load_run(run)).with_fusion({"fusion": "rrf", "k1": 5})
    rec.add_items(items(16).iloc[12:].assign(year=1990.0))
    rec.save(run / "serving")
    found = refreshed(run, mg.read_log(clicks(hour=1)))  # without rows: i12 and i13 have those they were added with
    now = mg.Recommender.load(run / "serving")
    assert (now.retriever.config.fusion, now.retriever.config.k1) == ("rrf", 5)
    assert found.run.graph.n_items == 14 and now.retriever.added == 2
    assert now.items.values.to_pylist()[-2:] == ["i14", "i15"] and len(now.items) == 16
    table = now.graph.items_table.to_pandas().set_index("item_id")
    assert table.category[["i12", "i13", "i14", "i15"]].tolist() == items(16).category.iloc[12:].tolist()
    words = now.graph.item_vocab["category"].to_pylist()
    codes = now.graph.item_fields["category"].values.flatten()[-4:]
    assert [words[int(code) - 1] for code in codes] == items(16).category.iloc[12:].tolist()
    assert now.graph.item_fields["item_id"].values[-4:].tolist() == [13, 14, 0, 0]
    assert now.similar_items("i15", k=3)["similar_id"].notna().all()
    again = refreshed(run, mg.read_log(clicks(hour=2, new=("i14", "i12"))))
    now = mg.Recommender.load(run / "serving")
    assert again.run.graph.n_items == 15 and now.retriever.added == 1 and now.items.values[-1].as_py() == "i15"


def test_a_learned_fusion_goes_on(run: Path, tmp_path: Path) -> None:
    split = mg.split(mg.read_log(clicks(), items=items(12)), "leave_last_out")
    config = {**CONFIG, "fusion": {"fusion": "learned"}}
    graph = mg.build(split.train)
    old = mg.train(graph, "youtube_dnn", split.valid, config, tmp_path / "learned", "cpu", progress=False)
    found = refreshed(tmp_path / "learned", mg.read_log(clicks(hour=1), items=items(14)))
    assert found.run.learned == old.learned and old.learned is not None
    assert mg.load_run(tmp_path / "learned").learned == old.learned
    assert mg.Recommender.load(found.serving).retriever.learned == old.learned


def test_live_clicks_that_the_log_has_too_are_counted_once(run: Path) -> None:
    from tests.retrieval.memory_store import MemoryStore

    rec = mg.Recommender(mg.load_run(run), store=MemoryStore(), store_timeout=60)
    log = clicks(hour=1)
    rec.observe(log.user_id.tolist(), log.item_id.tolist(), log.timestamp.tolist())
    found = refreshed(run)
    rec.reload(found.serving)
    people = ["u1", "u5", "new user"]
    plain = mg.Recommender.load(found.serving)
    pd.testing.assert_frame_equal(rec.recommend(people, k=5), plain.recommend(people, k=5))
    last = int(log.timestamp.max()) + 60
    rec.observe("u1", "i12", last)
    with_it = refreshed(run, pd.DataFrame({"user_id": ["u1"], "item_id": ["i12"], "timestamp": [last]}))
    people_now = rec.retriever.live.request().people(["u1"], "").histories
    rows = with_it.run.graph.relation("clicks")
    mine = slice(*(int(x) for x in rows.indptr[np.array([1, 2])]))
    assert with_it.run.graph.users.values[1].as_py() == "u1"
    assert people_now.items.tolist() == rows.col[mine].tolist()
