"""What saving needs of a disk: room, and a word where it is full; writes that outlive a power cut; locks on folders."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from micgraph.schema import ArtifactError, MicgraphError

# None on a system without these locks: there a save does not see that another one is under way.
fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WORDS = (*map(os.strerror, _FULL), "errno 28", "os error 28", "max_temp_directory_size")
"""What C++ and Rust libraries say when they are told one of these numbers, and DuckDB of its own limit for a disk."""


@contextmanager
def room(*places: str | Path) -> Iterator[None]:
    """Name what any library says of a full disk while something is written.

    Args:
        places: where it is written to, there or not; by default where temporary files are. The error names the one
            with the least room.

    Raises:
        ArtifactError: a disk, a quota or a limit for files is full. All else is raised as it is.
    """
    try:
        yield
    except MicgraphError:
        raise
    except Exception as error:
        if not is_full(error):
            raise
        raise no_room(error, *places) from error


def is_full(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, says that a disk is full."""
    said = str(error)
    if getattr(error, "errno", None) in _FULL or any(words in said for words in _WORDS):
        return True
    return error.__cause__ is not None and is_full(error.__cause__)


def no_room(error: BaseException, *places: str | Path) -> ArtifactError:
    """What :func:`room` raises."""
    free, place = min((_free(Path(one)), str(one)) for one in places or (tempfile.gettempdir(),))
    said = next((words for words in _WORDS if words in str(error)), str(error).strip().split("\n")[0][:200])
    remedy = f"free space on that disk, where {free:,} bytes are free and do not suffice, or write to another one"
    return ArtifactError(place, "room on its disk", f"a full one ({said})", remedy)


def unwritable(error: OSError, place: Path) -> ArtifactError:
    """What to raise where something cannot be written: :func:`no_room`, or that it is no place to write to."""
    if is_full(error):
        return no_room(error, place)
    return ArtifactError(str(place), "a place to write to", str(error), "choose another path")


def _free(place: Path) -> int:
    found = next((p for p in (place.absolute(), *place.absolute().parents) if p.exists()), Path.cwd())
    return shutil.disk_usage(found).free


def write_text(path: Path, text: str) -> None:
    """Write a text file such that a reader, a full disk or a kill sees all of the old one or all of the new one.

    Raises:
        ArtifactError: the disk is full, or there is no place to write to; what was there stays.
    """
    target = path.resolve()  # a link stays one
    beside = target.with_name(f".{os.urandom(8).hex()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # a pipe, or /dev/stdout
            target.write_text(text, encoding="utf-8")
            return
        beside.write_text(text, encoding="utf-8")
        if target.exists():
            shutil.copymode(target, beside)
        os.replace(beside, target)
    except OSError as error:
        raise unwritable(error, path) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """fsync of a file, or of a directory's entries on the systems and file systems that know such a thing."""
    if path.is_dir():
        with suppress(OSError):
            _sync(path, os.O_RDONLY)
    else:
        _sync(path, os.O_RDWR)  # Windows syncs only what is open for writing


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, after waiting for whoever has it. It goes with the process, however that ends."""
    handle = _lock(folder, wait=True)
    try:
        yield
    finally:
        if handle is not None:
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing does not suffice where a forked process has the handle too
            os.close(handle)


def is_held(folder: Path) -> bool:
    """Whether somebody holds the folder's lock."""
    try:
        handle = _lock(folder, wait=False)
    except BlockingIOError:
        return True
    if handle is not None:
        os.close(handle)
    return False


def _lock(folder: Path, wait: bool) -> int | None:
    """A handle that holds the lock; None where the system or the file system has no such locks."""
    if fcntl is None:
        return None
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return handle
    except OSError as error:
        if handle is not None:
            os.close(handle)
        if isinstance(error, BlockingIOError):
            raise
        return None
