"""Runs of the command line: where they are written, how they go on, what they begin from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import micgraph
from micgraph.cli import app
from tests.cli.commands import lines_of, refusal_of


def test_each_run_gets_a_directory_and_goes_on_in_its_own(trained: Path, here: Path) -> None:
    graph = str(trained / "graph")
    small = ("--model", "gru4rec", "--set", "model.dim=8", "--set", "training.epochs=2", "--device", "cpu")
    first, second = lines_of("train", graph, *small), lines_of("train", graph, *small)
    assert (first[-1], second[-1]) == ("run gru4rec: runs/gru4rec-1", "run gru4rec: runs/gru4rec-2")
    assert lines_of("train", graph, *small, "--out", "runs/gru4rec-1") == first[-1:], (
        "it has ended: no epoch is run again"
    )
    assert "--out" not in refusal_of("train", graph, *small, "--out", "runs/gru4rec-1", "--set", "model.dim=4")
    assert "NaN" not in str(micgraph.load_run("runs/gru4rec-2"))


def test_a_warm_start_has_the_settings_and_the_rows_of_its_run(trained: Path, here: Path) -> None:
    graph, earlier = str(trained / "graph"), str(trained / "run")
    *_, origin, last = lines_of("train", graph, "--warm-start", earlier, "--set", "training.lr=0.01", "--device", "cpu")
    assert origin.startswith("warm start from gru4rec on graph ") and last == "run gru4rec: runs/gru4rec-1"
    run = micgraph.load_run("runs/gru4rec-1")
    assert str(run.origin) == origin and (run.config.model.dim, run.config.training.lr) == (8, 0.01)
    assert "model.dim: expected 8" in refusal_of("train", graph, "--warm-start", earlier, "--set", "model.dim=4")
    assert [path.name for path in Path("runs").iterdir()] == ["gru4rec-1"]


@pytest.mark.parametrize("out", [["--out", "mine"], []])
def test_ctrl_c_tells_how_to_go_on(trained: Path, here: Path, monkeypatch: pytest.MonkeyPatch, out: list[str]) -> None:
    def interrupt(row: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    command = ["train", str(trained / "graph"), "--model", "gru4rec", "--set", "training.epochs=2", "--device", "cpu"]
    with monkeypatch.context() as patched:
        patched.setattr("micgraph.cli.runs._tell_epoch", interrupt)
        result = CliRunner().invoke(app, [*command, *out])
    where = out or ["--out", "runs/gru4rec-1"]
    named = "" if out else f" with {' '.join(where)}"
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == f"stopped; the same command{named} goes on from the last checkpoint\n"
    assert [line.split(":")[0] for line in lines_of(*command, *where)] == ["epoch 2", "run gru4rec"]


def test_ctrl_c_before_the_first_checkpoint(trained: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Any, step: int, order: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("micgraph.training.trainer.Trainer._step", interrupt)
    result = CliRunner().invoke(app, ["train", str(trained / "graph"), "--out", "mine", "--device", "cpu"])
    assert result.exit_code == 130 and "before the first checkpoint" in result.stderr


def test_a_run_that_does_not_start_leaves_no_directory(trained: Path, here: Path) -> None:
    graph = str(trained / "graph")
    refusal_of("train", graph, "--model", "ican", "--set", "model.options.heads=3")
    assert list(Path("runs").iterdir()) == []
