"""``python -m tests.fuzz``: many mutated logs and configs, and how many of them break a promise."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.keeping import keep_failure, smaller
from tests.fuzz.supervisor import PATIENCE, Worker

FAILURES = Path("fuzz-failures")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where anything failed."""
    options = _options(arguments)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # saved graphs wait for no disk there
    with (
        tempfile.TemporaryDirectory(prefix="micgraph-fuzz", dir=memory) as folder,
        Worker(Path(folder) / "w", options.patience) as worker,
    ):
        if options.replay:
            return _replay(worker, options.replay)
        return _many(worker, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="how many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds after which an input hangs")
    parser.add_argument("--failures", type=Path, default=FAILURES, help="folder where failures are kept")
    parser.add_argument("--replay", metavar="SEED:INDEX[:KEPT]", help="run this one input and show what became of it")
    return parser.parse_args(arguments)


def _replay(worker: Worker, named: str) -> int:
    seed, index, *kept = named.split(":")
    keep = [int(place) for place in kept[0].split(",") if place] if kept else None
    found = worker.run(int(seed), int(index), keep)
    print("\n".join([found["kind"], found["detail"], f"mutations: {found['mutations']}", *found["warned"]]))
    print(json.dumps({"inputs": 1, "failures": int(found["kind"] == "FAILED"), "built": int(found["built"])}))
    return int(found["kind"] == "FAILED")


def _many(worker: Worker, options: argparse.Namespace) -> int:
    start, counts, warned, slow = time.monotonic(), Counter[str](), Counter[str](), Counter[str]()
    done = built = trained = 0
    for index in range(options.first, options.first + options.inputs):
        if time.monotonic() - start > 60 * options.minutes:
            break
        found = worker.run(options.seed, index)
        done, built, trained = done + 1, built + found["built"], trained + found["trained"]
        counts[found["kind"]] += 1
        warned.update(text.split("\n")[0][:150] for text in found["warned"])
        slow[f"{options.seed}:{index} {'+'.join(found['mutations'])}"] = round(1000 * found["seconds"])
        if found["kind"] == "FAILED":
            keep = smaller(worker, options.seed, index, found)
            print(keep_failure(options.failures, worker, options.seed, index, keep, found), flush=True)
        if done % 500 == 0:
            print(
                f"{done} inputs, {built} built, {counts['FAILED']} failed, {time.monotonic() - start:.0f} s", flush=True
            )
    _report(counts, warned, slow)
    last: dict[str, Any] = {"inputs": done, "failures": counts["FAILED"], "built": built, "trained": trained}
    print(json.dumps({**last, "seed": options.seed, "seconds": round(time.monotonic() - start, 1)}))
    return int(counts["FAILED"] > 0)


def _report(counts: Counter[str], warned: Counter[str], slow: Counter[str]) -> None:
    print("\noutcomes")
    for kind, count in counts.most_common():
        print(f"  {count:6} {kind}")
    print("the slowest, in milliseconds")
    for name, milliseconds in slow.most_common(5):
        print(f"  {milliseconds:6} {name}")
    if warned:
        print("warnings of dependencies, and what was written on stderr")
        for text, count in warned.most_common(20):
            print(f"  {count:6} {text}")


if __name__ == "__main__":
    sys.exit(main())
