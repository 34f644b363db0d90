"""Directories that are whole or absent: graphs, checkpoints and serving exports are saved through here.

A saved directory looks like this::

    graph/
      current            JSON: kind, format version, name of the live version, checksum of its manifest
      0001-9f3a.../      the files of one version, and manifest.json with their SHA-256 sums

A new version is written beside the old one and becomes visible by one atomic rename of ``current``,
so a reader (or a crash) sees the old version or the new one and never a mixture. Of two processes that save to one
directory at the same time the first to end wins; the other is refused and leaves nothing. A version that was never
live, because its save was killed at the very end, has the empty file ``unpublished``: so a lost ``current`` is noticed.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

from micgraph import disk
from micgraph.manifests import MANIFEST, MARK, POINTER, REMEDY, list_files, of_version, point, pointed, serial, verify
from micgraph.schema import ArtifactError, InputError

T = TypeVar("T")


def as_path(path: Any, argument: str = "path") -> Path:
    """A path as such; whole where pyarrow would take its ``~`` for a home folder.

    Raises:
        InputError: neither text nor a path, such as None.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(argument, "the path of a directory", repr(path), "pass it as text or as a Path")
    return Path(path).absolute() if str(path).startswith("~") else Path(path)


def publish(path: str | Path, kind: str, version: int, write: Callable[[Path], None], keep: int | None = 1) -> Path:
    """Write a new version of the artifact at ``path`` and make it the live one.

    Args:
        path: the artifact's directory; made where missing. An existing directory must be an artifact of
            the same kind, or empty: anything else is left untouched.
        kind: what the artifact is, such as ``"graph"``; checked at load.
        version: the format version of this kind.
        write: receives an empty folder and writes the files into it. If it raises, the earlier version
            stays live and nothing is left behind.
        keep: how many versions stay on disk, the new one included; None: all that have been live.

    Returns:
        The folder of the new version.

    Raises:
        ArtifactError: ``path`` holds something that is not such an artifact, or cannot be a directory; its disk is
            full; or another process has saved there meanwhile.
    """
    root = as_path(path)
    _refuse_foreign(root, kind)
    with disk.room(root), ExitStack() as stack:
        try:
            root.mkdir(parents=True, exist_ok=True)
            with disk.held(root):
                before = serial(live(root)) if exists(root) else 0
                number = max((serial(p) for p in root.iterdir()), default=0) + 1
                folder = root / f"{number:04d}-{uuid.uuid4().hex[:8]}"
                folder.mkdir()
                stack.enter_context(disk.held(folder))  # so that no other save takes it for what a killed one has left
        except OSError as error:
            raise disk.unwritable(error, root) from error
        return _published(root, folder, before, (kind, version), write, keep)


def _published(
    root: Path, folder: Path, before: int, what: tuple[str, int], write: Callable[[Path], None], keep: int | None
) -> Path:
    """Fill a new folder and make it the live one in place of the version ``before``."""
    try:
        write(folder)
        list_files(folder, what)
        with disk.held(root):
            now = serial(live(root)) if exists(root) else 0
            if now != before:
                got = f"version {now}, which another process has saved meanwhile"
                raise ArtifactError(str(root), "a directory that nothing else writes", got, "run one at a time")
            point(root, folder, what)
            killed = range(before + 1, serial(folder))  # what a process that was killed has left
            _sweep(root, {*killed, *(() if keep is None else range(1, before - keep + 2))})
    except BaseException:
        if not exists(root) or live(root) != folder:  # once it is live it stays, whatever fails then
            _discard(folder)
            if not before:
                with suppress(OSError):  # other things in it
                    root.rmdir()
        raise
    return folder


def _discard(folder: Path) -> None:
    """Remove a version that is not live: its manifest first, for without its mark it would look once live."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path, gone: set[int]) -> None:
    """Remove the versions with these numbers that nobody is writing, and pointers that a crash has left."""
    for old in sorted(root.iterdir()):
        if old.name.startswith(f"{POINTER}."):
            old.unlink(missing_ok=True)
        elif serial(old) in gone and not disk.is_held(old):
            _discard(old)


def versions(path: str | Path) -> list[Path]:
    """The folders of an artifact's versions on disk, oldest first: the last one is live. :func:`resolve` takes each.

    Raises:
        ArtifactError: nothing has been published at ``path``.
    """
    root = as_path(path)
    now = live(root)
    before = (p for p in root.iterdir() if 0 < serial(p) < serial(now))
    return [*sorted((p for p in before if not (p / MARK).exists() and not disk.is_held(p)), key=serial), now]


def drop_old(path: str | Path) -> None:
    """Remove all versions of an artifact but the live one.

    Raises:
        ArtifactError: nothing has been published at ``path``.
    """
    for old in versions(path)[:-1]:
        shutil.rmtree(old)


def live(path: str | Path) -> Path:
    """The folder of the live version, which nothing has verified.

    Raises:
        ArtifactError: nothing has been published at ``path``.
    """
    root = as_path(path)
    return root / str(_pointer(root)["folder"])


def described(path: str | Path) -> tuple[str, int]:
    """The kind and the format version of an artifact, or of one version's folder; nothing else has been read.

    Raises:
        ArtifactError: nothing has been published at ``path``.
    """
    pointer = _pointer(as_path(path))
    return str(pointer["kind"]), int(pointer["format"])


def exists(path: str | Path) -> bool:
    """Whether an artifact (of any kind) has been published at ``path``.

    Raises:
        ArtifactError: one has, but the file that names its live version is gone.
    """
    pointer = as_path(path) / POINTER
    if pointer.is_file():
        return True
    folders = [p for p in pointer.parent.iterdir() if serial(p)] if pointer.parent.is_dir() else []
    if any(map(_was_live, folders)) and not pointer.is_file():  # it may have come meanwhile
        raise ArtifactError(str(path), f"the file {POINTER}, which names the live version", "no such file", REMEDY)
    return pointer.is_file()


def _was_live(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and not (folder / MARK).exists()


def checksum(path: str | Path) -> str:
    """The checksum of the live version's manifest, hence of all its files: equal for equal content.

    Raises:
        ArtifactError: nothing there.
    """
    return str(_pointer(as_path(path))["manifest"])


def opened(path: str | Path, kind: str, version: int, read: Callable[[Path], T], only: str | None = None) -> T:
    """What ``read`` makes of the verified folder of the live version, see :func:`resolve`; once more where another
    version has become the live one meanwhile and its files were taken away.

    Raises:
        ArtifactError: see :func:`resolve`.
    """
    while True:
        begun = live(path)
        try:
            return read(resolve(path, kind, version, only))
        except Exception:
            if live(path) == begun:
                raise


def resolve(path: str | Path, kind: str, version: int, only: str | None = None) -> Path:
    """The verified folder of the live version.

    Args:
        path: the artifact's directory; or the folder of one of its :func:`versions`, for that version.
        only: the one file to verify; None verifies all.

    Raises:
        ArtifactError: nothing there, another kind, another format version, a file missing or a byte changed.
    """
    root = as_path(path)
    pointer = _pointer(root)
    if pointer["kind"] != kind:
        raise ArtifactError(str(root), f"a saved {kind}", f"a saved {pointer['kind']}", f"pass the path of a {kind}")
    if pointer["format"] != version:
        raise ArtifactError(
            str(root),
            f"{kind} format {version}",
            f"format {pointer['format']}",
            f"make the {kind} again with this version of micgraph, or read it with the version that wrote it",
        )
    folder = root / str(pointer["folder"])
    verify(root, folder, str(pointer["manifest"]), only)
    return folder


def _pointer(root: Path) -> dict[str, Any]:
    remedy = "check the path, or make the directory again"
    if serial(root) and (root / MANIFEST).is_file():  # one version
        return of_version(root)
    if not exists(root):
        got = "a directory without the file 'current'" if root.is_dir() else "no such directory"
        raise ArtifactError(str(root), "a directory saved by micgraph", got, remedy)
    return pointed(root)


def _refuse_foreign(root: Path, kind: str) -> None:
    remedy = "choose another path, or remove what is there"
    if root.exists() and not root.is_dir():
        raise ArtifactError(str(root), "a directory or a new path", "a file", remedy)
    if exists(root):
        found = _pointer(root)["kind"]
        if found != kind:
            raise ArtifactError(str(root), f"a saved {kind} or a new path", f"a saved {found}", remedy)
    elif root.is_dir() and any(not serial(p) and not p.name.startswith(f"{POINTER}.") for p in root.iterdir()):
        raise ArtifactError(str(root), f"a saved {kind} or an empty directory", "other files", remedy)
