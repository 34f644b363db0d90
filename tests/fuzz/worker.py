"""The process that inputs are run in: reads ``{"seed", "index", "keep"}`` by lines, answers by lines.

It may be killed at any time. What the library or its dependencies write on stdout is kept away from the answers and is
a failure.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

MEMORY = 10 * 2**30


def main(folder: Path) -> None:
    """Answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    said = {fd: os.open(folder / f"said-{fd}", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND) for fd in (1, 2)}
    for fd, file in said.items():
        os.dup2(file, fd)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    Path(tempfile.tempdir).mkdir(exist_ok=True)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    from tests.fuzz.inputs import make
    from tests.fuzz.judge import judge
    from tests.fuzz.registry import LOADED
    from tests.fuzz.world import World

    assert LOADED
    world = World(folder)
    world.prepare()
    _forget(said)
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        outcome = judge(world, make(asked["seed"], asked["index"], asked["keep"]))
        sys.stdout.flush()
        sys.stderr.flush()
        if text := _said(said[1]):
            outcome.kind, outcome.detail = "FAILED", f"wrote on stdout: {text!r}"
        if text := _said(said[2]):
            outcome.warned.append(f"stderr: {text}")
        _forget(said)
        answers.write(json.dumps(asdict(outcome)) + "\n")
        answers.flush()


def _said(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    return os.read(file, 2_000).decode(errors="replace")


def _forget(said: dict[int, int]) -> None:
    for file in said.values():
        os.ftruncate(file, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
