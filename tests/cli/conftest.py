"""A folder with a log, and a trained model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

import micgraph
from tests.cli.commands import EXPERIMENT


@pytest.fixture
def here(tiny_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the tiny log and an experiment of it."""
    monkeypatch.chdir(tiny_files)
    Path("x.yaml").write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    return tiny_files


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a graph of integer ids, without titles; ``held`` is after its clicks, ``leak`` among them."""
    folder = tmp_path_factory.mktemp("trained")
    clicks = pd.DataFrame(
        {"user_id": [n % 9 for n in range(90)], "item_id": [100 + n * 7 % 11 for n in range(90)]}
    ).assign(timestamp=range(1_700_000_000, 1_700_000_090))
    graph = micgraph.build(micgraph.read_log(clicks), out=folder / "graph")
    config = {"model": {"dim": 8}, "training": {"epochs": 1}}
    micgraph.train(graph, "gru4rec", config=config, out=folder / "run", device="cpu", progress=False)
    for name, later in (("leak", 0), ("held", 10_000)):
        parts = micgraph.split(
            micgraph.read_log(clicks.assign(timestamp=clicks["timestamp"] + later)), "leave_last_out"
        )
        parts.test.save(folder / name)
    return folder
