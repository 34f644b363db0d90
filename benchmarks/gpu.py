"""Everything that needs a GPU, in under 8 minutes, on a machine with little but torch.

    python benchmarks/gpu.py --prepare .gpu-data [--ml-1m PATH] [--globo PATH]     where the data is
    python benchmarks/gpu.py --data .gpu-data                                      where the GPU is
    python benchmarks/gpu.py --device cpu --small                                  toy sizes, to try the program

The first form needs all of micgraph and writes at most 60 MB; the others need torch, torch-geometric, numpy, scipy,
numba and safetensors, and no network. A graph of 20 million clicks is generated on the spot. Sections: what the device
can do (copy, product), sampler, batches, training steps, exact retrieval, waits for the device in a step, and parity of
CPU and GPU. Each has a time budget and fails alone: failures are in the table and in the last line, which is JSON, and
the exit code is 1. Times are medians of some repeats after a warm-up, the device waited for; without ``--data`` only
the generated graph is measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from gpu_bench import Bench
from gpu_data import load, prepare
from gpu_parity import parity
from gpu_speed import SECTIONS

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
CLICKS, TOY = 20_000_000, 20_000


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare, or measure; the exit code."""
    args = _arguments(argv)
    if args.prepare:
        prepare(Path(args.prepare), args.ml1m, args.globo)
        return 0
    begun = time.perf_counter()
    torch.manual_seed(0)
    device = torch.device(args.device)
    graphs = load(Path(args.data) if args.data else None, TOY if args.small else CLICKS)
    bench = Bench(device, args.small, graphs)
    print(f"{_named(device)}, torch {torch.__version__}, Python {platform.python_version()}, {', '.join(graphs)}")
    bench.run("graphs", _move, 30)
    for name, (section, budget) in {**SECTIONS, "parity": (parity, 90.0)}.items():
        if args.only is None or name in ("limits", *args.only.split(",")):  # shares are of the limits
            bench.run(name, section, budget)
    for what in bench.left_out:
        print(f"  left out: {what}")
    about = {"device": _named(device), "torch": torch.__version__, "small": args.small, "parity_counts": bench.cuda}
    rest = {"failures": bench.failures, "left_out": bench.left_out, "seconds": round(time.perf_counter() - begun, 1)}
    print(json.dumps(about | {"found": bench.found} | rest))
    return 1 if bench.failures else 0


def _move(bench: Bench) -> None:
    """The graphs on the device."""
    for name, graph in bench.graphs.items():
        begun = time.perf_counter()
        bench.local[name] = graph.to(bench.device)
        bench.wait()
        edges = sum(rel.n_edges for rel in graph.relations.values())
        bench.tell(f"{name}, edges", edges, f"{graph.n_users:,} users, {graph.n_items:,} items")
        bench.tell(f"{name}, seconds to the device", time.perf_counter() - begun)


def _named(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", metavar="FOLDER", help="write the data there, and measure nothing")
    parser.add_argument(
        "--ml-1m", dest="ml1m", default=str(SHARED / "ml-1m"), help="folder with ratings.dat (--prepare)"
    )
    parser.add_argument("--globo", help="Globo's clicks.parquet, or its folder (--prepare)")
    parser.add_argument("--data", metavar="FOLDER", help="what --prepare wrote")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--small", action="store_true", help="toy sizes")
    parser.add_argument("--only", help="these sections and the limits, with commas between them")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
