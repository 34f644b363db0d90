"""A script that calls ``micgraph.train`` is started by torchrun as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from micgraph.pipeline import train
from micgraph.run import load_run
from tests.toy import random_rows, toy_graph

SETTINGS = {"model": {"dim": 8, "history": 5, "dropout": 0.0}, "sampling": {"batch_size": 8}, "training": {"epochs": 2}}
SCRIPT = """
import json, os, sys
from micgraph.pipeline import train
from tests.training.test_torchrun import SETTINGS
from tests.toy import random_rows, toy_graph
seen = []
run = train(
    toy_graph(random_rows(), 14), "gru4rec", config=SETTINGS, out=sys.argv[1], device="cpu", on_epoch=seen.append
)
rank = os.environ["RANK"]
with open(sys.argv[1] + "-said-" + rank, "w") as file:
    json.dump([rank, len(seen), float(run.model.item_vectors()[0].sum())], file)
"""


def test_it_trains_one_run(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    script = [str(tmp_path / "script.py"), str(tmp_path / "run")]
    subprocess.run([*command, *script], env=environment, check=True, timeout=600)
    said = [json.loads((tmp_path / f"run-said-{rank}").read_text()) for rank in (0, 1)]
    assert [one[:2] for one in said] == [["0", 2], ["1", 0]], "the first process alone reports"
    assert said[0][2] == said[1][2], "both have the best weights in the end"
    found = load_run(tmp_path / "run")
    alone = train(toy_graph(random_rows(), 14), "gru4rec", config=SETTINGS, device="cpu", progress=False)
    assert len(found.metrics) == len(alone.metrics) == 2
    for one, two in zip(alone.metrics, found.metrics, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
