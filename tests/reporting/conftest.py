"""Two runs on one small graph, and what is held out of it, where the command line would put them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import micgraph as mg

NASTY = '</td><script>alert("x")</script> $a_b$ & "c" \U0001f600'
CONFIG = {
    "model": {"dim": 8, "history": 10},
    "training": {"epochs": 2, "monitor": "recall@20"},
    "sampling": {"batch_size": 64},
    "fusion": {"m1": 5, "m3": 5, "lambda_div": 0.0},
}


def _log() -> mg.Log:
    """Forty users, a few of whom come late or have clicked little, and thirty items, the first ones more popular."""
    rng, rows = np.random.default_rng(0), []
    chance = 1 / np.arange(1, 31) ** 0.7
    for user in range(40):
        begin, clicks = (0, 4 + user) if user < 30 else (72, 6) if user < 35 else (60, 8)
        for time in np.sort(rng.uniform(begin, 100, clicks)):
            item = int(rng.choice(30, p=chance / chance.sum()))
            rows.append((f"<b>u{user}</b>", item, 1_700_000_000 + int(time * 3600)))
    clicks = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    titles = [NASTY, *(f"title {n}" for n in range(1, 30))]
    items = pd.DataFrame({"item_id": range(30), "title": titles, "category": [f"<i>c{n % 11}</i>" for n in range(30)]})
    return mg.read_log(clicks, items=items)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``graph-valid``, ``graph-test``, ``runs/plain`` and ``runs/<u>`` with the task ui."""
    pytest.importorskip("matplotlib", reason="figures need matplotlib (the extra report)")
    home = tmp_path_factory.mktemp("compared")
    split = mg.split(_log(), "temporal", test="15h")
    graph = mg.build(split.train)
    assert split.valid is not None
    split.valid.save(home / "graph-valid")
    split.test.save(home / "graph-test")
    for name, model in (("plain", "mic_dnn"), ("<u>", "mic_dnn+ui")):
        mg.train(graph, model, split.valid, CONFIG, home / "runs" / name, "cpu", progress=False)
    return home


@pytest.fixture(scope="session")
def page(folder: Path) -> str:
    """The page of both runs, on the validation part that lies beside them."""
    runs = [folder / "runs" / name for name in ("plain", "<u>")]
    return mg.report(runs, out=folder / "page.html", k=5, progress=False).read_text(encoding="utf-8")
