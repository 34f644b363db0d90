"""Memory and time of one training step, a few queries of the batch encoded at a time and all at once.

    python benchmarks/micro_batch.py [--batch 4096] [--micro 256 1024] [--model gru4rec]

Random clicks: as many users as the batch has queries, 60 clicks each, 5,000 items; d = 64, histories of 50, one cut a
user, 512 negatives. Two steps of each size, of which the second is timed, in processor time. Memory is what the process
has at its peak beyond what it has before the first step, as Linux counts it; sizes come in ascending order, the whole
batch last, since what a step has freed may stay with the process. The last line is JSON: each size's share of the
whole batch's memory and time.
"""

from __future__ import annotations

import argparse
import json
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
from micgraph.tasks.spread import Spread
from micgraph.training import Trainer

CLICKS, ITEMS = 60, 5_000


def main() -> None:
    """Print a table and one JSON line."""
    given = _arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = _trainer(given.model, given.batch, Path(folder))
        before, rows = _megabytes("VmRSS"), {}
        for micro in (*sorted(given.micro), 0):
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            seconds = _seconds(made, micro)
            rows[micro] = _megabytes("VmHWM") - before, seconds
            print(f"{micro or 'all':>6} at a time: {rows[micro][0]:8.0f} MB {seconds:8.2f} s", flush=True)
    whole = rows.pop(0)
    found = {f"memory_share_{micro}": round(row[0] / whole[0], 3) for micro, row in rows.items()}
    print(json.dumps(found | {f"time_share_{micro}": round(row[1] / whole[1], 2) for micro, row in rows.items()}))


def _seconds(made: Trainer, micro: int) -> float:
    """Processor seconds of the second of two steps."""
    made.objective.spread = Spread(queries=micro)
    made.objective.train()
    batch, seconds = made.sampler.batch(0, 0), 0.0
    for _ in range(2):
        begun = time.process_time()
        made.optimizer.zero_grad()
        made.objective(batch)[0].backward()
        made.optimizer.step()
        seconds = time.process_time() - begun
    return seconds


def _trainer(model: str, batch: int, folder: Path) -> Trainer:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"user_id": np.repeat(np.arange(batch), CLICKS), "item_id": random.zipf(1.3, batch * CLICKS) % ITEMS}
    )
    graph = mg.build(frame.assign(timestamp=np.tile(np.arange(CLICKS) * 86_400, batch)))
    settings: dict[str, Any] = {
        "model": {"dim": 64, "history": 50},
        "sampling": {"samples": "users", "batch_size": batch},
        "tasks": {"matching": {"negatives": "uniform", "count": 512}},
    }
    config = resolve(model, settings, graph.n_items)
    _, objective, sampler = assemble(config, graph, torch.device("cpu"), folder / "run")
    return Trainer(objective, sampler, config.training, folder / "state")


def _megabytes(name: str) -> float:
    """What Linux says about this process's memory: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1e3


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--micro", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--model", default="gru4rec")
    return parser.parse_args()


if __name__ == "__main__":
    main()
