"""What a graph and the batches made of it take in memory.

    python benchmarks/batches.py --events 20000000 [--steps 200] [--folder FOLDER]

The log is that of build.py; its graph is built once and kept in FOLDER, if one is given. A fresh process loads it,
mapped, makes a sampler and ``steps`` batches from all over an epoch, for each of two models: every click a target, with
512 drawn negatives, the clicked ones among them masked, and session positives (4,096 a batch); and pieces of histories
scored at every position, with another stretch of each user's clicks (256 a batch). Counted is the peak of resident
memory, anonymous and mapped, above what the process had after it had done the same on a tiny graph: libraries and
compiled loops are not counted. The last line is JSON; ``bytes_per_click`` is the larger of the two.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from build import TOP_K
from clicks import write_clicks

import micgraph as mg
from micgraph.sampling.batch import BatchSampler
from micgraph.sampling.plan import Requires
from micgraph.sampling.samples import SamplingConfig
from micgraph.schema import CLICKS, CO_OCCURS

TINY = 2_000
MODELS: dict[str, tuple[SamplingConfig, list[Requires]]] = {
    "clicks": (
        SamplingConfig(samples="clicks", batch_size=4096),
        [
            Requires(negatives=("popularity", 512), target_mask="negatives"),
            Requires(negatives=("uniform", 50), positives=CO_OCCURS),
        ],
    ),
    "positions": (
        SamplingConfig(samples="positions", strict=False, batch_size=256, anchors_per_query=16),
        [Requires(negatives=("popularity", 512), target_mask="batch"), Requires(other_stretch=True)],
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Build the graphs where they are missing and measure each model in a process of its own."""
    args = _arguments(argv)
    if args.child:
        print(json.dumps(_child(Path(args.folder), args.events, args.child, args.steps)))
        return
    with tempfile.TemporaryDirectory(prefix="micgraph-benchmark-") as temporary:
        folder = Path(args.folder or temporary)
        for events in (TINY, args.events):
            _graph(folder, events)
        found = {}
        for model in MODELS:
            command = [sys.executable, __file__, "--child", model, "--folder", str(folder)]
            command += ["--events", str(args.events), "--steps", str(args.steps)]
            found[model] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            print(f"{model:<10} {found[model]}", flush=True)
    sizes = {f"bytes_per_click_{model}": one["bytes_per_click"] for model, one in found.items()}
    print(json.dumps({"bytes_per_click": max(sizes.values()), **sizes}))


def _graph(folder: Path, events: int) -> None:
    """The generated log's graph, unless it is there."""
    target = folder / f"graph-{events}"
    if target.exists():
        return
    with tempfile.TemporaryDirectory(dir=folder) as log:
        write_clicks(Path(log), events)
        read = mg.read_log(str(Path(log) / "*.parquet"), time_unit="s", memory_limit="4GB")
        mg.build(read, mg.BuildConfig(co_occurs_top_k=TOP_K, memory_limit="4GB"), target)


def _child(folder: Path, events: int, model: str, steps: int) -> dict[str, Any]:
    _batches(folder / f"graph-{TINY}", model, 2)
    before = _resident("VmRSS")
    begun = time.perf_counter()
    clicks, seconds = _batches(folder / f"graph-{events}", model, steps)
    peak = _resident("VmHWM")
    return {
        "bytes_per_click": round((peak - before) / clicks, 1),
        "clicks": clicks,
        "ready_s": round(time.perf_counter() - begun - seconds, 2),
        "batch_ms": round(1000 * seconds / steps, 1),
    }


def _batches(graph: Path, model: str, steps: int) -> tuple[int, float]:
    """The graph's clicks, and the seconds that the batches took."""
    config, requires = MODELS[model]
    loaded = mg.RecGraph.load(graph)
    sampler = BatchSampler(loaded, config, requires)
    order = sampler.order(0)
    begun = time.perf_counter()
    for step in torch.linspace(0, sampler.steps - 1, steps).long().tolist():
        sampler.batch(0, step, order)
    return loaded.relation(CLICKS).n_edges, time.perf_counter() - begun


def _resident(name: str) -> int:
    """Bytes of memory that the process holds now (VmRSS), or held at the most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000_000, help="size of the generated log")
    parser.add_argument("--steps", type=int, default=200, help="batches of each model")
    parser.add_argument("--folder", help="where graphs are kept for another time; else they are temporary")
    parser.add_argument("--child", choices=MODELS, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
