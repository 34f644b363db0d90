"""Folders for temporary files that go with whoever made them, and those that a killed process has left behind."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import suppress
from glob import escape
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

# None on a system without these locks: what a killed process leaves there, nobody sweeps.
fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

_LOCK = "lock"


class Scratch:
    """A new folder, locked while its process lives. Unlocked ones of the same name are removed when it is made.

    Args:
        parent: an existing folder.
        name: what it is for; folders of one name are taken for leftovers of each other.

    Attributes:
        path: the folder.
    """

    def __init__(self, parent: Path, name: str) -> None:
        _sweep(parent, name)
        while True:
            self.path = parent / f".{name}-{uuid.uuid4().hex[:8]}.tmp"
            self.path.mkdir()
            handle = locked(self.path)
            if handle is not None:
                self._handle = handle
                return

    def remove(self) -> None:
        """Remove the folder with all that is in it; a second time does nothing."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()


def locked(folder: Path) -> int | None:
    """A handle that holds the folder's lock; None where another process holds it, or has just removed the folder."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    except FileNotFoundError:
        return None
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (folder / _LOCK).exists():
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def _sweep(parent: Path, name: str) -> None:
    """Remove the folders of this name whose process is gone. Those of other users are left to them."""
    if fcntl is None:
        return
    for folder in parent.glob(f".{escape(name)}-*.tmp"):
        with suppress(OSError):
            handle = locked(folder)
            if handle is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(handle)
