"""micgraph index: from a run to a directory that serves it, whose searches reach the recall."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import micgraph
from micgraph import artifact
from micgraph.cli import app

pytest.importorskip("faiss")


def _run(*arguments: str) -> list[str]:
    """The lines that a command prints; it must end well."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def _refused(*arguments: str) -> str:
    """The one line of a command that must fail."""
    result = CliRunner().invoke(app, list(arguments))
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on 40 users and 60 items."""
    folder = tmp_path_factory.mktemp("indexed")
    clicks = pd.DataFrame({"user_id": [n % 40 for n in range(400)], "item_id": [100 + n * 7 % 60 for n in range(400)]})
    clicks["timestamp"] = range(1_700_000_000, 1_700_000_400)
    graph = micgraph.build(micgraph.read_log(clicks), out=folder / "graph")
    config = {"model": {"dim": 8}, "training": {"epochs": 1}}
    micgraph.train(graph, "gru4rec", config=config, out=folder / "run", device="cpu", progress=False)
    return folder / "run"


def test_a_run_is_indexed_and_served_and_indexed_again(run: Path) -> None:
    asked = ("--users", "3,4", "--k", "5")
    exact = _run("recommend", str(run), *asked)
    lines = _run("index", str(run), "--kind", "faiss_hnsw", "--tune-recall", "1.0", "--k", "20", "--set", "hnsw_m=8")
    serving = run / "serving"
    assert lines[-1] == f"serving: {serving}"
    assert lines[0].split() == ["index", "ef_search", "recall", "per_second", "bytes", "chosen"]
    rows = [line.split() for line in lines[1:-1]]
    assert [row[0] for row in rows if row[-1] == "yes"] == ["items", "users"]
    assert [float(row[2]) for row in rows if row[-1] == "yes"] == [1.0, 1.0]
    chosen = micgraph.Recommender.load(serving).retriever.config
    assert (chosen.index, chosen.item_index.hnsw_m) == ("faiss_hnsw", 8)
    assert chosen.item_index.ef_search == int(next(row for row in rows if row[-1] == "yes")[1])
    assert _run("recommend", str(serving), *asked) == exact
    assert _run("similar", str(serving), "--items", "107") == _run("similar", str(run), "--items", "107")

    lines = _run("index", str(serving), "--kind", "faiss_ivf", "--tune-recall", "0.9")
    assert lines[-1] == f"serving: {serving}" and "nprobe" in lines[0]
    assert micgraph.Recommender.load(serving).retriever.users.kind == "faiss_ivf"
    assert _run("recommend", str(run), *asked) == exact, "the run itself is as it was"


def test_what_is_refused_leaves_what_was_saved(run: Path, tmp_path: Path) -> None:
    serving = tmp_path / "serving"
    _run("index", str(run), "--kind", "torch", "--out", str(serving))
    before = artifact.checksum(serving)
    for arguments, words in [
        (("--kind", "hnsw"), "kind: expected one of torch, faiss_flat"),
        (("--kind", "faiss_pq"), "at least 256 for faiss_pq, got 60"),
        (("--kind", "faiss_ivf", "--tune-recall", "1.5"), "recall: expected above 0 and at most 1"),
        (("--kind", "faiss_ivf", "--set", "cells=4"), "settings.cells"),
        (("--kind", "faiss_ivf", "--k", "61"), "k: expected a number from 1 to 60"),
    ]:
        assert words in _refused("index", str(serving), *arguments)
    assert artifact.checksum(serving) == before
    assert "nothing" in _refused("index", str(tmp_path / "nothing"), "--kind", "torch")
