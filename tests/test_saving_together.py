"""Processes that save to one directory and read it at the same time: whole old or whole new."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from micgraph import artifact, disk
from micgraph.schema import ArtifactError

SIZE = 50_000
WRITERS, SAVES = 3, 15


def writer(content: str, files: int = 3) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for number in range(files):
            (folder / f"{number}.txt").write_text(content * SIZE)

    return write


def read(folder: Path) -> str:
    """The one letter that a version is made of, read file after file as graphs and runs are."""
    letters = {letter for number in range(3) for letter in set((folder / f"{number}.txt").read_text())}
    assert len(letters) == 1, letters
    return letters.pop()


def saving(root: Path, letter: str, told: Any) -> None:
    saved = refused = 0
    for _ in range(SAVES):
        try:
            artifact.publish(root, "thing", 1, writer(letter))
            saved += 1
        except ArtifactError as error:
            assert "another process has saved meanwhile" in error.got and error.remedy == "run one at a time"
            refused += 1
    told.put((letter, saved, refused))


@pytest.mark.skipif(disk.fcntl is None, reason="no locks on folders here")
def test_writers_and_readers_at_once(tmp_path: Path) -> None:
    root, context = tmp_path / "it", multiprocessing.get_context("fork")
    artifact.publish(root, "thing", 1, writer("z"))
    told = context.Queue()
    processes = [context.Process(target=saving, args=(root, letter, told)) for letter in "abc"[:WRITERS]]
    for process in processes:
        process.start()
    seen, reads = set(), 0
    while any(process.is_alive() for process in processes):
        seen.add(artifact.opened(root, "thing", 1, read))
        reads += 1
    for process in processes:
        process.join()
        assert process.exitcode == 0
    counts = [told.get(timeout=10) for _ in processes]
    assert reads and seen <= set("zabc")
    assert all(saved + refused == SAVES for _, saved, refused in counts) and sum(saved for _, saved, _ in counts) >= 1
    assert artifact.opened(root, "thing", 1, read) in {letter for letter, saved, _ in counts if saved}
    assert len([p for p in root.iterdir() if p.is_dir()]) == 1, "versions are left"
    assert sorted(p.name for p in root.iterdir())[-1] == "current"


@pytest.mark.skipif(disk.fcntl is None, reason="no locks on folders here")
def test_the_second_of_two_saves_is_refused_and_neither_sweeps_the_other(tmp_path: Path) -> None:
    root = tmp_path / "it"
    artifact.publish(root, "thing", 1, writer("z"))
    begun, go_on, errors = threading.Event(), threading.Event(), []

    def slowly(folder: Path) -> None:
        writer("a")(folder)
        begun.set()
        assert go_on.wait(30)
        assert read(folder) == "a"  # the other save has not taken it for what a killed one left

    def first() -> None:
        try:
            artifact.publish(root, "thing", 1, slowly)
        except ArtifactError as error:
            errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(30)
    artifact.publish(root, "thing", 1, writer("b"))
    go_on.set()
    thread.join()
    assert len(errors) == 1 and errors[0].got == "version 3, which another process has saved meanwhile"
    assert artifact.opened(root, "thing", 1, read) == "b"
    assert len([p for p in root.iterdir() if p.is_dir()]) == 1


def test_a_reader_that_was_overtaken_reads_the_new_version(tmp_path: Path) -> None:
    root, times = tmp_path / "it", []
    artifact.publish(root, "thing", 1, writer("a"))

    def overtaken(folder: Path) -> str:
        times.append(folder)
        if len(times) == 1:
            artifact.publish(root, "thing", 1, writer("b"))
        return read(folder)

    assert artifact.opened(root, "thing", 1, overtaken) == "b"
    assert len(times) == 2 and times[0] != times[1]


def test_an_error_of_a_reader_that_was_not_overtaken_is_raised(tmp_path: Path) -> None:
    artifact.publish(tmp_path / "it", "thing", 1, writer("a"))

    def fail(folder: Path) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        artifact.opened(tmp_path / "it", "thing", 1, fail)


def test_a_lost_pointer_is_noticed_unless_the_version_was_never_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "it"

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(artifact, "_discard", lambda folder: None)  # a killed process removes nothing
        with pytest.raises(KeyboardInterrupt):
            artifact.publish(root, "thing", 1, writer("a"))
    assert (next(root.iterdir()) / artifact.MANIFEST).exists() and not artifact.exists(root)
    artifact.publish(root, "thing", 1, writer("b"))
    (root / "current").unlink()
    with pytest.raises(ArtifactError, match="current, which names the live version"):
        artifact.exists(root)
    with pytest.raises(ArtifactError, match="current, which names the live version"):
        artifact.publish(root, "thing", 1, writer("c"))
    assert len(list(root.iterdir())) == 1


def test_a_version_that_is_live_stays_whatever_fails_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifact, "_sweep", fail)
    with pytest.raises(KeyboardInterrupt):
        artifact.publish(tmp_path / "it", "thing", 1, writer("a"))
    assert artifact.opened(tmp_path / "it", "thing", 1, read) == "a"
