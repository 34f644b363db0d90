"""Saved directories are whole, or refused with a name for what is wrong."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from micgraph import artifact
from micgraph.schema import ArtifactError

FILES = {"a.bin": b"first file", "sub/b.bin": b"second file"}


def write(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    artifact.publish(tmp_path / "it", "thing", 2, write)
    return tmp_path / "it"


def test_round_trip(saved: Path) -> None:
    folder = artifact.resolve(saved, "thing", 2)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert artifact.exists(saved) and not artifact.exists(saved.parent)


def test_a_flipped_byte_in_any_file_is_found(saved: Path) -> None:
    names = sorted(snapshot(saved))
    assert len(names) == 4  # two files, their manifest, and the pointer
    for name in names:
        original = (saved / name).read_bytes()
        for place in range(len(original)):
            damaged = bytearray(original)
            damaged[place] ^= 1
            (saved / name).write_bytes(bytes(damaged))
            with pytest.raises(ArtifactError):
                artifact.resolve(saved, "thing", 2)
        (saved / name).write_bytes(original)
    artifact.resolve(saved, "thing", 2)


def test_a_missing_file_is_named(saved: Path) -> None:
    for name in sorted(snapshot(saved)):
        content = (saved / name).read_bytes()
        (saved / name).unlink()
        with pytest.raises(ArtifactError, match=Path(name).name):
            artifact.resolve(saved, "thing", 2)
        (saved / name).write_bytes(content)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such directory"):
        artifact.resolve(tmp_path / "absent", "thing", 1)
    with pytest.raises(ArtifactError, match="without the file 'current'"):
        artifact.resolve(tmp_path, "thing", 1)


def test_another_format_or_kind(saved: Path) -> None:
    with pytest.raises(ArtifactError, match="expected thing format 3, got format 2; make the thing again"):
        artifact.resolve(saved, "thing", 3)
    with pytest.raises(ArtifactError, match="a saved thing"):
        artifact.resolve(saved, "graph", 2)
    before = snapshot(saved)
    with pytest.raises(ArtifactError):
        artifact.publish(saved, "graph", 2, write)
    assert snapshot(saved) == before


@pytest.mark.parametrize("name", ["notes.txt", "2024-holidays/x.txt", "1234-abcdefab", "currently"])
def test_a_foreign_directory_is_untouched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ArtifactError, match="other files"):
        artifact.publish(tmp_path, "thing", 1, write)
    assert snapshot(tmp_path) == {name: b"mine"}


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "it").write_text("mine")
    with pytest.raises(ArtifactError, match="a file"):
        artifact.publish(tmp_path / "it", "thing", 1, write)
    assert (tmp_path / "it").read_text() == "mine"


def test_a_failing_writer_leaves_the_old_version_live(saved: Path) -> None:
    before = snapshot(saved)

    def fail(folder: Path) -> None:
        write(folder)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        artifact.publish(saved, "thing", 2, fail)
    assert snapshot(saved) == before
    artifact.resolve(saved, "thing", 2)


def test_a_first_write_that_fails_can_be_repeated(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        artifact.publish(tmp_path / "it", "thing", 1, fail)
    with pytest.raises(ArtifactError):
        artifact.resolve(tmp_path / "it", "thing", 1)
    artifact.publish(tmp_path / "it", "thing", 1, write)
    artifact.resolve(tmp_path / "it", "thing", 1)


def test_what_a_crash_left_behind_is_ignored_and_swept_up(saved: Path) -> None:
    live = artifact.resolve(saved, "thing", 2)
    half = saved / "0002-deadbeef"
    half.mkdir()
    (half / "a.bin").write_bytes(b"half")
    (saved / "current.12345678").write_text("{")
    assert artifact.resolve(saved, "thing", 2) == live
    newest = artifact.publish(saved, "thing", 2, write)
    assert artifact.resolve(saved, "thing", 2) == newest
    assert sorted(p.name for p in saved.iterdir()) == sorted([newest.name, "current"])


def test_everything_is_on_disk_before_the_pointer_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of every file, then of the folders that list them, then of the new pointer, and only then its rename."""
    done: list[str] = []
    sync, rename = os.fsync, os.replace

    def path_of(handle: int) -> str:
        wanted = os.fstat(handle).st_ino
        (found,) = [p for p in (tmp_path, *tmp_path.rglob("*")) if p.stat().st_ino == wanted]
        parts = found.relative_to(tmp_path).parts
        return "/".join("VERSION" if part.startswith("0001-") else part for part in parts)

    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(path_of(handle)), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), rename(a, b)))
    artifact.publish(tmp_path / "it", "thing", 1, write)
    *before, pointer, renamed, after = done
    data = ["it/VERSION/a.bin", "it/VERSION/sub/b.bin", "it/VERSION/manifest.json"]
    assert before == [*data, "it/VERSION/sub", "it/VERSION", "it"]
    assert pointer.startswith("it/current.") and (renamed, after) == ("rename", "it")


def test_keep_leaves_earlier_versions(tmp_path: Path) -> None:
    folders = [artifact.publish(tmp_path / "it", "thing", 1, write, keep=2) for _ in range(3)]
    assert [f.exists() for f in folders] == [False, True, True]
    assert artifact.resolve(tmp_path / "it", "thing", 1) == folders[2]
    pointer = json.loads((tmp_path / "it" / "current").read_text())
    assert pointer["kind"] == "thing" and pointer["format"] == 1


def test_a_version_that_was_never_live_is_no_earlier_one(tmp_path: Path) -> None:
    saved = tmp_path / "it"
    first = artifact.publish(saved, "thing", 1, write, keep=None)

    def meanwhile(folder: Path) -> None:
        write(folder)
        killed = saved / "0001-bbbbbbbb"  # just before it would have been live
        shutil.copytree(first, killed)
        (killed / "unpublished").touch()

    last = artifact.publish(saved, "thing", 1, meanwhile, keep=None)
    assert artifact.versions(saved) == [first, last]

    def looked_at(folder: Path) -> None:
        write(folder)
        renamed = folder.with_name("0001-cccccccc")  # as one that is written looks, beside a later live one
        folder.rename(renamed)
        assert artifact.versions(saved) == [first, last]
        renamed.rename(folder)

    artifact.publish(saved, "thing", 1, looked_at, keep=None)


def test_a_first_save_that_fails_never_looks_like_one_that_lost_its_pointer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path, ignore_errors: bool) -> None:
        for path in folder.iterdir():  # the mark is gone, and then the power
            path.unlink()
            return

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "point", full)
    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(ArtifactError):
        artifact.publish(tmp_path / "it", "thing", 1, write)
    assert not artifact.exists(tmp_path / "it")
