"""Memory and time of one training step, with the whole batch encoded at once and a few queries at a time.

    python benchmarks/micro_batch.py [--batch 4096] [--micro 0 1024 256] [--model gru4rec+mic]

Random clicks: as many users as the batch has queries, 60 clicks each, 5,000 items; d = 64, histories of 50, one cut a
user, 512 negatives. Each size runs in a process of its own: three steps, of which the last is timed in processor time.
Memory is what the process has at its peak beyond what it has before the first step. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import micgraph as mg
from micgraph.assembly import assemble
from micgraph.presets import resolve
from micgraph.training import Trainer

CLICKS, ITEMS = 60, 5_000


def main() -> None:
    """Measure each size in a process of its own and print a table and one JSON line."""
    given = _arguments()
    if given.one is not None:
        print(json.dumps(measured(given.model, given.batch, given.one)))
        return
    rows = {}
    for micro in given.micro:
        command = [sys.executable, __file__, "--one", str(micro), "--batch", str(given.batch), "--model", given.model]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows[micro] = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{micro or 'all':>6} at a time: {rows[micro]['peak_mb']:8.0f} MB {rows[micro]['step_s']:8.2f} s",
            flush=True,
        )
    first = rows[given.micro[0]]
    print(
        json.dumps({f"peak_share_{micro}": round(row["peak_mb"] / first["peak_mb"], 3) for micro, row in rows.items()})
    )


def measured(model: str, batch: int, micro: int) -> dict[str, float]:
    """Peak memory in MB beyond the start and processor seconds of a step."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = _trainer(model, batch, micro, Path(folder))
        order = made.sampler.order(0)
        made.objective.train()
        before = _peak_mb()
        for _ in range(3):
            begun = time.process_time()
            made._step(0, order)
            seconds = time.process_time() - begun
        return {"peak_mb": _peak_mb() - before, "step_s": seconds}


def _trainer(model: str, batch: int, micro: int, folder: Path) -> Trainer:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"user_id": np.repeat(np.arange(batch), CLICKS), "item_id": random.zipf(1.3, batch * CLICKS) % ITEMS}
    )
    graph = mg.build(frame.assign(timestamp=np.tile(np.arange(CLICKS) * 86_400, batch)))
    settings: dict[str, Any] = {
        "model": {"dim": 64, "history": 50},
        "sampling": {"samples": "users", "batch_size": batch},
        "training": {"micro_batch": micro, "precision": "fp32"},
    }
    config = resolve(model, settings, graph.n_items)
    _, objective, sampler = assemble(config, graph, torch.device("cpu"), folder / "run")
    return Trainer(objective, sampler, config.training, folder / "state")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3  # kB on Linux


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--micro", type=int, nargs="+", default=[0, 1024, 256])
    parser.add_argument("--model", default="gru4rec+mic")
    parser.add_argument("--one", type=int, help="measure one size in this process")
    return parser.parse_args()


if __name__ == "__main__":
    main()
