"""Samples a second of our training loop beside others': torch-rechub's, RecBole's, and a plain one of PyTorch.

    python benchmarks/train.py [--raw PATH] [--rivals-env DIR] [--turns 5]

On all of MovieLens-1M, on the CPU. A sample is a click and the (at most) 50 clicks of its user before it, whatever
their seconds; a batch has 2,048 (RecBole's default). Items have their id alone, d = 64, Adam at 0.001, and it is

- YoutubeDNN with an MLP of 64-128-64, cosines, and 50 uniform negatives a sample, against torch-rechub's YoutubeDNN
  (its own MatchTrainer) and against a plain loop (Dataset, DataLoader, the same layers), each with no process that
  loads data and with two, whichever is faster. torch-rechub keeps each sample's negatives in its data; the
  plain loop and ours draw 50 for a whole batch, and ours leaves out those that a sample's user has clicked.
- GRU4Rec with 128 states, dropout 0.3 and a softmax over all items, against RecBole's (its own Trainer and defaults);
  RecBole has no YoutubeDNN. Ours has biases and drops out the last state as well.

Each is a process of its own, loop_*.py; they take turns of some steps, of which the first are not timed, and the first
turn of each not at all. Data are prepared before. That all have the same samples is checked by sums over their ids.
Ratios are medians over the turns. ``overhead_share`` is what part of a step of our YoutubeDNN is not forward, backward
and update but making the batch, logging and the loop; GRU4Rec's, whose steps are longer, is in the table.

The rivals need an environment of their own, which is made once where DIR has none: by default .venv-rivals in this
repository, see rival_env.py for what is installed. Where that cannot be done they are left out, and null in the last
line, which is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rival_env
import torch
from contest import compare, overhead, speedup

import micgraph as mg
from micgraph.datasets import movielens_1m

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data"
SETTINGS = {
    "history": 50,
    "batch": 2048,
    "dim": 64,
    "hidden": 128,
    "temperature": 0.05,
    "negatives": 50,
    "dropout": 0.3,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Compare both models."""
    args = _arguments(argv)
    rivals, reason = (None, "--no-rivals") if args.no_rivals else rival_env.interpreter(Path(args.rivals_env))
    if rivals is None:
        print(f"not compared with torch-rechub and RecBole: {reason}", flush=True)
    given: dict[str, Any] = SETTINGS | {"threads": torch.get_num_threads(), "batch": args.batch}
    print(f"{platform.machine()}, {given['threads']} threads of torch {torch.__version__}, no GPU", flush=True)
    with TemporaryDirectory(prefix="micgraph-benchmark-") as folder:
        given |= _prepared(args.raw, Path(folder))
        ours, others = sys.executable, rivals
        first = {"micgraph": (ours, "micgraph", {"encoder": "youtube_dnn"})}
        for workers in (0, 2):
            first[f"plain, {workers} workers"] = (ours, "plain", {"workers": workers})
            first[f"torch-rechub, {workers} workers"] = (others, "rechub", {"workers": workers})
        second = {"micgraph": (ours, "micgraph", {"encoder": "gru4rec"}), "RecBole": (others, "recbole", {})}
        youtube = compare("YoutubeDNN", first, given, args.turns, args.steps, 5)
        gru = {} if rivals is None else compare("GRU4Rec", second, given, args.turns, max(args.steps // 5, 2), 1)
    found = {
        "speedup_vs_rechub": speedup(youtube, "torch-rechub"),
        "speedup_vs_recbole": speedup(gru, "RecBole"),
        "speedup_vs_plain": speedup(youtube, "plain"),
        "overhead_share": overhead(youtube["micgraph"]),
    }
    print(json.dumps(found))


def _prepared(raw: str, folder: Path) -> dict[str, str]:
    """The graph for ours, and its clicks for the others."""
    graph = mg.build(movielens_1m(raw))
    graph.save(folder / "graph")
    clicks = graph.relation("clicks")
    np.savez(folder / "clicks.npz", indptr=clicks.indptr.numpy(), col=clicks.col.numpy())
    return {"graph": str(folder / "graph"), "clicks": str(folder / "clicks.npz")}


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", default=DATA / "ml-1m", help="folder with ratings.dat, movies.dat and users.dat")
    parser.add_argument("--rivals-env", default=REPOSITORY / ".venv-rivals", help="made if it is not there")
    parser.add_argument("--no-rivals", action="store_true", help="only the plain loop")
    parser.add_argument("--turns", type=int, default=5, help="of each, after the first, which is not timed")
    parser.add_argument("--steps", type=int, default=15, help="timed steps a turn; of GRU4Rec a fifth")
    parser.add_argument("--batch", type=int, default=SETTINGS["batch"], help="samples a step")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
