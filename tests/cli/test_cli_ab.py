"""``micgraph ab`` from files to a table and JSON, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import micgraph
from micgraph.cli import app


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    user = np.concatenate([np.arange(40), rng.integers(0, 40, 400)])
    log = pd.DataFrame({"group": np.where(user % 2, "new", "old"), "user_id": user})
    log["event"] = rng.choice(["click", "play", "share"], len(log))
    log.assign(item_id=rng.integers(0, 9, len(log))).to_csv("log.csv", index=False)
    pd.DataFrame({"user_id": rng.integers(0, 40, 200)}).to_parquet("before.parquet")
    return tmp_path


def test_from_a_log_to_a_table(here: Path) -> None:
    given = ["--control", "old", "--column", "arm=group", "--event", "view=play", "--event", "other=share,save"]
    more = ["--history", "before.parquet", "--cold-below", "6", "--resamples", "200", "--seed", "3", "--level", "0.9"]
    result = CliRunner().invoke(app, ["ab", "log.csv", *given, *more, "--json", "out/ab.json"])
    assert result.exit_code == 0, result.output
    found = micgraph.ab_test(
        "log.csv",
        "old",
        {"arm": "group"},
        {"view": "play", "other": ["share", "save"]},
        "before.parquet",
        cold_below=6,
        resamples=200,
        seed=3,
        level=0.9,
    )
    assert result.stdout.splitlines() == [*str(found).splitlines(), "", f"json: {Path('out/ab.json')}"]
    assert Path("out/ab.json").read_text() == found.json() + "\n"
    assert [e["metric"] for e in json.loads(found.json())["effects"]] == ["ACC", "videos per user", "ACC-c"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "error: log: expected an existing file"),
        (["log.csv"], "error: log: expected a column 'arm'"),
        (["log.csv", "--column", "arm"], "error: --column: expected NAME=VALUE, got 'arm'"),
        (["log.csv", "--column", "arm=group", "--event", "view=play", "--event", "view=x"], "error: --event: expected"),
        (["log.csv", "--column", "arm=group"], "error: log.event: expected only events of click, like"),
    ],
)
def test_errors_are_one_line(here: Path, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["ab", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(message)
