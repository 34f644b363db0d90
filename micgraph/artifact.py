"""Directories that are whole or absent: graphs, checkpoints and serving exports are saved through here.

A saved directory looks like this::

    graph/
      current            JSON: kind, format version, name of the live version, checksum of its manifest
      0001-9f3a.../      the files of one version, and manifest.json with their SHA-256 sums

A new version is written beside the old one and becomes visible by one atomic rename of ``current``,
so a reader (or a crash) sees the old version or the new one and never a mixture.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from micgraph.schema import ArtifactError, InputError

POINTER, MANIFEST = "current", "manifest.json"
_VERSION = re.compile(r"(\d{4,})-[0-9a-f]{8}")


def as_path(path: Any, argument: str = "path") -> Path:
    """A path as such.

    Raises:
        InputError: neither text nor a path, such as None.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(argument, "the path of a directory", repr(path), "pass it as text or as a Path")
    return Path(path)


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
        ArtifactError: ``path`` holds something that is not such an artifact, or cannot be a directory.
    """
    root = as_path(path)
    _refuse_foreign(root, kind)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(str(root), "a place to write to", str(error), "choose another path") from error
    before = _serial(live(root)) if exists(root) else 0
    serial = max((_serial(p) for p in root.iterdir()), default=0) + 1
    folder = root / f"{serial:04d}-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    try:
        write(folder)
        _make_live(root, folder, kind, version)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    killed = range(before + 1, serial)  # what a process that was killed has left
    _sweep(root, {*killed, *(() if keep is None else range(1, before - keep + 2))})
    return folder


def _make_live(root: Path, folder: Path, kind: str, version: int) -> None:
    """Write the manifest, put all on disk, then let the pointer name the folder: after a power cut the pointer never
    names files that were still in memory."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    sums = {str(p.relative_to(folder)): _sha256(p) for p in files}
    manifest = json.dumps({"kind": kind, "format": version, "files": sums}, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(manifest, encoding="utf-8")
    for path in (*files, folder / MANIFEST, *(p for p in folder.rglob("*") if p.is_dir()), folder, root):
        _to_disk(path)
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    pointer = {"kind": kind, "format": version, "folder": folder.name, "manifest": digest}
    beside = root / f"{POINTER}.{uuid.uuid4().hex[:8]}"
    beside.write_text(json.dumps(pointer, sort_keys=True), encoding="utf-8")
    _to_disk(beside)
    os.replace(beside, root / POINTER)
    _to_disk(root)


def _sweep(root: Path, gone: set[int]) -> None:
    """Remove the versions with these numbers, and pointers that a crash has left."""
    for old in sorted(root.iterdir()):
        if old.name.startswith(f"{POINTER}."):
            old.unlink(missing_ok=True)
        elif _serial(old) in gone:
            shutil.rmtree(old, ignore_errors=True)


def versions(path: str | Path) -> list[Path]:
    """The folders of an artifact's versions on disk, oldest first: the last one is live. :func:`resolve` takes each.

    Raises:
        ArtifactError: nothing has been published at ``path``.
    """
    root = as_path(path)
    last = _serial(live(root))
    return sorted((p for p in root.iterdir() if 0 < _serial(p) <= last), key=_serial)


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
    """Whether an artifact (of any kind) has been published at ``path``."""
    return (as_path(path) / POINTER).is_file()


def checksum(path: str | Path) -> str:
    """The checksum of the live version's manifest, hence of all its files: equal for equal content.

    Raises:
        ArtifactError: nothing there.
    """
    return str(_pointer(as_path(path))["manifest"])


def resolve(path: str | Path, kind: str, version: int) -> Path:
    """The verified folder of the live version.

    Args:
        path: the artifact's directory; or the folder of one of its :func:`versions`, for that version.

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
    _verify(root, folder, str(pointer["manifest"]))
    return folder


def _verify(root: Path, folder: Path, digest: str) -> None:
    remedy = "restore the directory from a copy or make it again"
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise ArtifactError(str(root), f"the file {folder.name}/{MANIFEST}", "no such file", remedy)
    text = manifest.read_bytes()
    if hashlib.sha256(text).hexdigest() != digest:
        raise ArtifactError(str(manifest), "the checksum that was saved", "a changed file", remedy)
    for name, expected in json.loads(text)["files"].items():
        if not (folder / name).is_file():
            raise ArtifactError(str(root), f"the file {folder.name}/{name}", "no such file", remedy)
        if _sha256(folder / name) != expected:
            raise ArtifactError(str(folder / name), "the checksum that was saved", "a changed file", remedy)


def _pointer(root: Path) -> dict[str, Any]:
    remedy = "check the path, or make the directory again"
    if _serial(root) and (root / MANIFEST).is_file():  # one version
        text = (root / MANIFEST).read_bytes()
        about = json.loads(text)
        digest = hashlib.sha256(text).hexdigest()
        return {"kind": about["kind"], "format": about["format"], "folder": ".", "manifest": digest}
    if not (root / POINTER).is_file():
        got = "a directory without the file 'current'" if root.is_dir() else "no such directory"
        raise ArtifactError(str(root), "a directory saved by micgraph", got, remedy)
    try:
        pointer = json.loads((root / POINTER).read_bytes())
        if {"kind", "format", "folder", "manifest"} <= set(pointer):
            return dict(pointer)
    except (ValueError, TypeError):
        pass
    raise ArtifactError(str(root / POINTER), "the JSON that micgraph wrote", "a changed file", remedy)


def _refuse_foreign(root: Path, kind: str) -> None:
    remedy = "choose another path, or remove what is there"
    if root.exists() and not root.is_dir():
        raise ArtifactError(str(root), "a directory or a new path", "a file", remedy)
    if exists(root):
        found = _pointer(root)["kind"]
        if found != kind:
            raise ArtifactError(str(root), f"a saved {kind} or a new path", f"a saved {found}", remedy)
    elif root.is_dir() and any(not _serial(p) and not p.name.startswith(f"{POINTER}.") for p in root.iterdir()):
        raise ArtifactError(str(root), f"a saved {kind} or an empty directory", "other files", remedy)


def _serial(path: Path) -> int:
    """The number in a version folder's name, 0 for anything else: what is not surely ours is never removed."""
    found = _VERSION.fullmatch(path.name)
    return int(found[1]) if found and path.is_dir() else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
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
