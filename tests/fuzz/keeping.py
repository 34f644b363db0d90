"""Failures: with fewer mutations where these are enough, and kept as files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.fuzz import registry
from tests.fuzz.inputs import make
from tests.fuzz.supervisor import REPOSITORY, Worker

assert registry.LOADED


def smaller(worker: Worker, seed: int, index: int, found: dict[str, Any]) -> list[int]:
    """The places of the mutations without any of which the input does not fail in the same way."""
    keep = list(range(len(make(seed, index).mutations)))
    for place in list(keep):
        fewer = [other for other in keep if other != place]
        again = worker.run(seed, index, fewer)
        if _reason(again) == _reason(found):
            keep = fewer
    worker.run(seed, index, keep)
    return keep


def _reason(found: dict[str, Any]) -> tuple[str, str]:
    return found["kind"], found["detail"].split("\n")[0].split(":")[0]


def keep_failure(folder: Path, worker: Worker, seed: int, index: int, keep: list[int], found: dict[str, Any]) -> str:
    """Copy the input's files, say how to run it again; the summary of it."""
    target = folder / f"{seed}-{index}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    written = worker.folder / "in"
    if written.is_dir():
        shutil.copytree(written, target / "in")
    replay = f"{seed}:{index}:{','.join(map(str, keep))}"
    names = [name for place, name in enumerate(make(seed, index).mutations) if place in keep]
    again = f"cd {REPOSITORY.name} && python -m tests.fuzz --replay {replay}"
    report = f"{found['detail']}\n\nmutations that are enough: {names}\nagain: {again}\n"
    (target / "report.txt").write_text(report, encoding="utf-8", errors="replace")
    first = found["detail"].split("\n")[0]
    last = next((line for line in reversed(found["detail"].split("\n")) if line.strip()), "")
    return f"FAILED {replay} {'+'.join(names)}: {first[:200]} | {last[:300]}"
