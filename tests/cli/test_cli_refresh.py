"""micgraph refresh: the table of its stages, and what the other commands then find under the same names."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import micgraph as mg
from micgraph import versions
from micgraph.cli import app
from micgraph.refreshing import STAGES
from tests.small_refresh import CONFIG, clicks, items


def _run(*arguments: str, code: int = 0) -> list[str]:
    """The lines that a command prints; its errors where it must fail."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return (result.stderr if code else result.stdout).splitlines()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    graph = mg.build(mg.read_log(clicks(), items=items(12)))
    mg.train(graph, "youtube_dnn", config=CONFIG, out=tmp_path / "run", device="cpu", progress=False)
    clicks(hour=1).rename(columns={"item_id": "article"}).to_parquet(tmp_path / "hour.parquet")
    items(14).to_parquet(tmp_path / "items.parquet")
    return tmp_path / "run"


def test_an_hour_comes_to_a_run(run: Path) -> None:
    hour = (str(run.parent / "hour.parquet"), "--items", str(run.parent / "items.parquet"), "--device", "cpu")
    named = ("--set", "log.columns={item_id: article}")
    assert "article" in _run("refresh", str(run), *hour, code=2)[0]
    lines = _run("refresh", str(run), *hour, *named, "--epochs", "2", "--set", "training.lr=0.002")
    assert [line.split()[0] for line in lines[:8]] == ["stage", *STAGES, "total"]
    assert all(float(line.split()[1]) > 0 for line in lines[1:8])
    assert lines[8] == "new: 12 clicks, 1 users, 2 items" and lines[9].startswith("warm start from youtube_dnn")
    now = mg.load_run(run)
    assert (now.config.training.epochs, now.config.training.lr) == (2, 0.002)
    assert lines[10:] == [f"run: {run}, version {now.directory.name}", f"serving: {run / 'serving'}"]
    for path in (run, run / "serving"):
        assert len(_run("recommend", str(path), "--users", "new user", "--k", "3")) == 4
    _run("index", str(run), "--kind", "torch", "--tune-recall", "1.0")
    assert {p.name for p in now.directory.iterdir()} >= {"setup", "graph", "best", "serving", "manifest.json"}
    assert not (run / "serving").exists() and versions.place(run / "serving") == now.directory / "serving"
    last = _run("refresh", str(run), *hour, *named)
    assert "new: 0 clicks, 0 users, 0 items" in last and last[-1] == f"nothing new in the log: {run} stays as it is"
    assert mg.load_run(run).directory == now.directory
