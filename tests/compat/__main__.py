"""``python tests/compat``: which versions work together here, and whether each loads what the others have saved.

Every combination of combinations.py gets an environment (kept between calls), the journey of journey.py and some quick
tests; then each loads what every other has saved. JSON is the last line.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from combinations import COMBINATIONS, REPOSITORY
from trial import Trial

SHOWN = ("torch", "numpy", "pandas")


def main() -> None:
    """Try all combinations; the exit status is 1 where one that could be installed has failed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", type=Path, default=REPOSITORY / ".compat", help="where environments are kept")
    options.add_argument("--only", default="", help="names of combinations, with commas; all without it")
    given = options.parse_args()
    names = given.only.split(",") if given.only else [c.name for c in COMBINATIONS]
    unknown = set(names) - {c.name for c in COMBINATIONS}
    if unknown:
        options.error(f"--only: expected some of {[c.name for c in COMBINATIONS]}, got {sorted(unknown)}")
    folder = given.folder.resolve()
    shutil.rmtree(folder / "saved", ignore_errors=True)
    trials = [Trial(c, folder / "saved" / c.name) for c in COMBINATIONS if c.name in names]
    for trial in trials:
        trial.alone(folder)
        print(f"{trial.combination.name}: {trial.reason or 'ok alone'}", flush=True)
    for trial in trials:
        trial.load(trials)
    _tell(trials)
    sys.exit(any(trial.outcome == "failed" for trial in trials))


def _tell(trials: list[Trial]) -> None:
    width = max(len(trial.combination.name) for trial in trials)
    print()
    for trial in trials:
        installed = " ".join(f"{name} {trial.versions[name]}" for name in SHOWN if name in trial.versions)
        loads = sum(told == "ok" for step, told in trial.steps.items() if step.startswith("load "))
        row = f"{trial.combination.name:<{width}}  {trial.outcome:<15}  loads {loads} of {len(trials)}  {installed}"
        print(f"{row}  {trial.reason}".rstrip())
    told = {t.combination.name: {"outcome": t.outcome, "versions": t.versions, "steps": t.steps} for t in trials}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
