"""Packages that cannot be used, for a folder that comes first on the path."""

from __future__ import annotations

from pathlib import Path

REFUSES = 'raise ImportError("libstrange.so: undefined symbol: _ZN5weird")'
CRASHES = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"
HANGS = "import time\ntime.sleep(600)"
LEAVES = "import sys\nsys.exit(0)"
TALKS = 'print("{welcome")'


def fake(folder: Path, name: str, code: str) -> Path:
    """Write a package; returns the folder."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    return folder
