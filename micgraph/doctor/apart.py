"""Modules of this package run in processes of their own, which may crash or hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

TIMEOUT = 90.0
"""Seconds that a probe may take: an import from a cold disk, or on a busy machine, takes some twenty."""


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        found: the JSON object that it printed last, empty where it failed.
        problem: in words, empty where all went well.
    """

    found: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def outcome(module: str, *arguments: str, timeout: float | None = TIMEOUT) -> Outcome:
    """What ``python -m module arguments`` finds, with the packages that this process would import.

    Args:
        timeout: seconds; None waits for ever.
    """
    # -P, and this process's path: no other folder, such as the working directory, comes first there
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-P", "-m", module, *arguments]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return Outcome(problem=f"no answer in {timeout:g} seconds")
    if done.returncode == 0:
        return _read(done.stdout)
    said = done.stderr.strip().splitlines()
    last = said[-1].strip() if said else "without a word"
    return Outcome(problem=f"{_ended(done.returncode)}: {last}" if done.returncode != 1 else last)


def _read(said: str) -> Outcome:
    """The last line, as JSON: what is imported may print before."""
    try:
        return Outcome(dict(json.loads(said.strip().splitlines()[-1])))
    except (IndexError, TypeError, ValueError):
        return Outcome(problem="it ends its process as if all were done")


def _ended(code: int) -> str:
    """How a process ended that should not have, in words."""
    if code < 0:
        names = {one.value: one.name for one in signal.Signals}
        return f"ended by {names.get(-code, f'signal {-code}')}"
    return f"ended with status {code}"
