"""``make compat``: its lists of versions, its search for Pythons, and its journey under the running versions."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "tests" / "compat"


@pytest.fixture
def compat(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of the folder as ``python tests/compat`` does."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def test_lowest_versions_are_the_bounds_of_pyproject(compat: Any) -> None:
    lowest = compat("combinations").lowest()
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert {"torch", "torch-geometric", "numpy", "numba", "pandas", "polars", "faiss-cpu", "lmdb"} <= set(lowest)
    assert all(f'"{package}>={version}"' in text for package, version in lowest.items())


def test_combinations_have_names_of_their_own_and_pins_win(compat: Any) -> None:
    combinations = compat("combinations")
    names = [combination.name for combination in combinations.COMBINATIONS]
    assert len(set(names)) == len(names) and {c.python for c in combinations.COMBINATIONS} == {"3.11", "3.12", "3.13"}
    mixed = combinations.Combination("3.12", combinations.NEWEST, {"torch": "2.6.0"})
    assert mixed.name == "py312-tested-torch2.6"
    assert "torch==2.6.0" in mixed.constraints() and len([c for c in mixed.constraints() if "torch==" in c]) == 1


def test_a_python_is_found_only_where_it_answers(compat: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interpreter = compat("interpreters").interpreter
    running = "{}.{}".format(*sys.version_info)
    assert interpreter(running) == sys.executable
    silent = tmp_path / "python3.1"
    silent.write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    silent.chmod(0o755)
    monkeypatch.setenv("PYTHON31", str(silent))
    assert interpreter("3.1") is None
    silent.write_text("#!/bin/sh\necho 3.1\n", encoding="utf-8")
    assert interpreter("3.1") == str(silent)


def test_what_cannot_be_installed_says_why(compat: Any, tmp_path: Path) -> None:
    trial, combinations = compat("trial"), compat("combinations")
    tried = trial.Trial(combinations.Combination("3.1", combinations.FREE), tmp_path / "saved")
    tried.alone(tmp_path)
    tried.load([tried])
    assert (tried.outcome, tried.reason) == ("not installable", "install: no Python 3.1 on this machine")


def test_the_journey_loads_what_it_saved_and_differences_are_found(compat: Any, tmp_path: Path) -> None:
    (made,), (loaded,) = (_journey(verb, tmp_path) for verb in ("make", "load"))
    difference = compat("trial").difference
    assert difference(made, loaded) == "ok"
    for change, told in [
        (lambda lists, _: lists["ican+micrec"]["item_id"].reverse(), "lists of ican+micrec have other items"),
        (lambda lists, _: lists["gru4rec+mic"]["score"].__setitem__(0, 9.0), "lists of gru4rec+mic have other scores"),
        (lambda _, losses: losses.pop(), "the interrupted run goes on to other losses"),
    ]:
        changed = deepcopy(loaded)
        change(changed["lists"], changed["losses"])
        assert difference(made, changed) == told
    assert difference(made, {**loaded, "graph": "another"}) == "the graph has another fingerprint"


def _journey(verb: str, folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, str(FOLDER / "journey.py"), verb, str(folder)]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environ)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))
