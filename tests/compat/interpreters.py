"""Pythons of this machine, wherever they were installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ASK = "import sys, ensurepip; print('{}.{}'.format(*sys.version_info))"


def interpreter(version: str) -> str | None:
    """A Python of a version such as ``3.12`` that can make environments, or None.

    Looked at in turn: the running one, the variable ``PYTHON312``, ``python3.12`` on the PATH, pyenv's and uv's.
    """
    return next((path for path in _candidates(version) if _is(path, version)), None)


def _candidates(version: str) -> Iterator[str]:
    yield sys.executable
    named = os.environ.get(f"PYTHON{version.replace('.', '')}") or shutil.which(f"python{version}")
    yield from [named] if named else []
    for command in (["pyenv", "root"], ["uv", "python", "dir"]):
        root = _answer(command)
        if root:
            yield from sorted(map(str, Path(root).glob(f"**/*{version}.*/bin/python{version}")), reverse=True)


def _is(path: str, version: str) -> bool:
    """Whether it answers: pyenv puts a name on the PATH also for a version that is not chosen."""
    return _answer([path, "-c", ASK]) == version


def _answer(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
