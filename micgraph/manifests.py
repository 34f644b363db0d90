"""The two JSON files that make a directory an artifact: the manifest of a version, and the pointer to the live one."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from pathlib import Path
from typing import Any

from micgraph import disk, sealed
from micgraph.schema import ArtifactError

POINTER, MANIFEST, MARK = "current", "manifest.json", "unpublished"
_NAMED, _LISTED = ("kind", "format", "folder", "manifest"), ("kind", "format", "files")
REMEDY = "restore the directory from a copy, or remove it and make it again"
_VERSION = re.compile(r"(\d{4,})-[0-9a-f]{8}")


def serial(path: Path) -> int:
    """The number in a version folder's name, 0 for anything else: what is not surely ours is never removed."""
    found = _VERSION.fullmatch(path.name)
    return int(found[1]) if found and path.is_dir() else 0


def list_files(folder: Path, what: tuple[str, int]) -> None:
    """Write the manifest, and put all on disk: after a power cut the pointer never names files that were still in
    memory."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    sums = {str(p.relative_to(folder)): _sha256(p) for p in files}
    manifest = sealed.dumps({"kind": what[0], "format": what[1], "files": sums}, indent=1)
    (folder / MARK).touch()
    (folder / MANIFEST).write_text(manifest, encoding="utf-8")
    for path in (*files, folder / MANIFEST, *(p for p in folder.rglob("*") if p.is_dir()), folder, folder.parent):
        disk.to_disk(path)


def point(root: Path, folder: Path, what: tuple[str, int]) -> None:
    """Make a version the live one, by one atomic rename."""
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    pointer = {"kind": what[0], "format": what[1], "folder": folder.name, "manifest": digest}
    beside = root / f"{POINTER}.{uuid.uuid4().hex[:8]}"
    try:
        beside.write_text(sealed.dumps(pointer), encoding="utf-8")
        disk.to_disk(beside)
        os.replace(beside, root / POINTER)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    disk.to_disk(root)
    (folder / MARK).unlink(missing_ok=True)


def of_version(folder: Path) -> dict[str, Any]:
    """What a pointer to this version would say, from its manifest.

    Raises:
        ArtifactError: the manifest is damaged.
    """
    text = _read(folder, folder / MANIFEST)
    about = sealed.loads(text, str(folder / MANIFEST), _LISTED)
    digest = hashlib.sha256(text).hexdigest()
    return {"kind": about["kind"], "format": about["format"], "folder": ".", "manifest": digest}


def pointed(root: Path) -> dict[str, Any]:
    """What the pointer says: kind, format, folder, and the checksum of its manifest.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    return sealed.loads(_read(root, root / POINTER), str(root / POINTER), _NAMED)


def verify(root: Path, folder: Path, digest: str, only: str | None) -> None:
    """Refuse a version of which a file is missing or a byte was changed.

    Args:
        digest: of its manifest.
        only: the one file to look at; None looks at all.

    Raises:
        ArtifactError: names the file.
    """
    text = _read(root, folder / MANIFEST)
    if hashlib.sha256(text).hexdigest() != digest:
        raise ArtifactError(str(folder / MANIFEST), "the checksum that was saved", "a changed file", REMEDY)
    for name, expected in sealed.loads(text, str(folder / MANIFEST), _LISTED)["files"].items():
        if only not in (None, name):
            continue
        if not (folder / name).is_file():
            raise ArtifactError(str(root), f"the file {folder.name}/{name}", "no such file", REMEDY)
        try:
            found = _sha256(folder / name)
        except OSError as error:
            raise ArtifactError(str(folder / name), "a file that can be read", str(error), REMEDY) from error
        if found != expected:
            raise ArtifactError(str(folder / name), "the checksum that was saved", "a changed file", REMEDY)


def _read(root: Path, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        got = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise ArtifactError(str(root), f"the file {file.relative_to(root)}", got, REMEDY) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
