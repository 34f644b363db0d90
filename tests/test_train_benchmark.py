"""The training benchmark at toy size: everyone has the same samples, and loops take as many steps as they are told."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.small_data import films

REPOSITORY = Path(__file__).resolve().parents[1]

Load = Callable[[str], ModuleType]

COUNTING = """
import json, sys
from contextlib import suppress
from turns import Stopped, Turns, settings

given = settings()
turns = Turns(given["steps"], given["warm"])
print("what a loop prints is no answer")
turns.ready(samples=given["length"])
taken = 0
with suppress(Stopped):
    while True:
        for step in turns.over(range(given["length"])):
            taken += 1
            turns.add("taken", 1)
open(given["out"], "w").write(str(taken))
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module


def test_both_loops_and_no_rivals(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/train.py", "--raw", str(films(tmp_path)), "--no-rivals"]
    command += ["--turns", "1", "--steps", "1", "--batch", "16"]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"speedup_vs_rechub", "speedup_vs_recbole", "speedup_vs_plain", "overhead_share"}
    assert found["speedup_vs_rechub"] is None and found["speedup_vs_recbole"] is None
    assert found["speedup_vs_plain"] > 0 and 0 < found["overhead_share"] < 1
    assert "440 samples an epoch" in done.stdout


def test_samples_are_clicks_and_what_came_before(tmp_path: Path, module: Load) -> None:
    histories = module("histories")
    rng, users = np.random.default_rng(0), [0, 1, 5, 0, 9, 2]
    clicks = [list(rng.integers(0, 7, size)) for size in users]
    col = np.array([item for row in clicks for item in row], np.int32)
    np.savez(tmp_path / "clicks.npz", indptr=np.cumsum([0, *users]), col=col)
    history, target, n_items = histories.samples(str(tmp_path / "clicks.npz"), 4)
    expected = [([1 + i for i in row[:at]][-4:], 1 + row[at]) for row in clicks for at in range(1, len(row))]
    assert n_items == col.max() + 1 and history.shape == (len(expected), 4)
    for line, goal, (past, due) in zip(history.tolist(), target.tolist(), expected, strict=True):
        assert line == past + [0] * (4 - len(past)) and goal == due
    found = histories.sums(history, target)
    assert found["targets"] == sum(due for _, due in expected)
    assert found["histories"] == sum(sum(past) for past, _ in expected) and found["samples"] == len(expected)


def test_a_loop_takes_its_steps_and_no_more(tmp_path: Path, module: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    contest = module("contest")
    (tmp_path / "loop_counting.py").write_text(COUNTING)
    monkeypatch.setattr(contest, "HERE", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "benchmarks"))
    given = {"steps": 5, "warm": 2, "length": 7, "out": str(tmp_path / "taken")}  # turns end in the midst of epochs
    one = contest.Contestant("counting", sys.executable, "counting", given)
    assert one.facts == {"samples": 7}
    answers = [one.turn() for _ in range(4)]
    one.end()
    assert (tmp_path / "taken").read_text() == "20"
    assert all(answer["steps"] == 3 and answer["taken"] == 3 for answer in answers)
    assert all(answer["seconds"] > 0 and answer["processor"] >= 0 for answer in answers)


def test_who_cannot_come_is_left_out(
    tmp_path: Path, module: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    contest, rival_env = module("contest"), module("rival_env")
    with pytest.raises(contest.Failed, match=r"RecBole: .*No such file or directory"):
        contest.Contestant("RecBole", sys.executable, "nobody", {})
    monkeypatch.setattr(rival_env.sys, "executable", "false")
    python, reason = rival_env.interpreter(tmp_path / "rivals")
    assert python is None and "cannot be installed" in reason
    assert "installing torch-rechub" in capsys.readouterr().out


def test_ratios_are_to_the_fastest_of_a_kind(module: Load) -> None:
    contest = module("contest")
    turns = {"micgraph": [2.0, 1.0, 4.0], "plain, 0 workers": [4.0, 3.0, 4.0], "plain, 2 workers": [9.0, 9.0, 9.0]}
    answers = {name: [{"seconds": one, "computing": 0.75 * one} for one in taken] for name, taken in turns.items()}
    assert contest.speedup(answers, "plain") == 2.0 and contest.speedup(answers, "RecBole") is None
    assert contest.overhead(answers["micgraph"]) == 0.25
