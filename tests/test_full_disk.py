"""A disk that fills up at any moment of a save: a named error, and what was there before is as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import micgraph
from micgraph import disk
from micgraph.knn import VectorIndex
from micgraph.schema import ArtifactError, StoreError
from tests.saved import DAY, QUIET, Saved

pytest.importorskip("faiss", reason="the cpu extra is not installed")
pytest.importorskip("lmdb", reason="the serve extra is not installed")
pytest.importorskip("optuna", reason="the tune extra is not installed")

KB = 1024
FREE = [0, 4, 16, 40, 100, 200, 400]
"""Kilobytes that are free when a save begins; some saves fit into the last ones."""
BOUNDED = {"memory_limit": "256MB"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 16 MB in memory."""
    place = tmp_path_factory.mktemp("small")
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (it takes root)")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _index(kind: str) -> Callable[[Saved, Path], object]:
    return lambda saved, out: VectorIndex(torch.randn(2_000, 8), "cosine", kind).save(out / f"index-{kind}")  # type: ignore[arg-type]


def _refresh(saved: Saved, out: Path) -> object:
    later = saved.late.assign(timestamp=saved.late["timestamp"] + DAY)
    return micgraph.refresh(out / "refreshed", later, {"training": {"epochs": 1}}, **QUIET)


def _bounded(saved: Saved, out: Path) -> object:
    saved.early.to_parquet(saved.folder / "early.parquet")
    log = micgraph.read_log(saved.folder / "early.parquet", memory_limit="256MB")
    return micgraph.build(micgraph.split(log, "temporal", test="1d").train, BOUNDED, out / "graph")


SAVES: dict[str, tuple[str, Callable[[Saved, Path], object]]] = {
    "build": ("graph", lambda saved, out: micgraph.build(saved.early, out=out / "graph")),
    "build in bounded memory": ("graph", _bounded),
    "append": ("appended", lambda saved, out: micgraph.append(out / "appended", saved.late)),
    "holdout": ("graph-test", lambda saved, out: saved.valid.save(out / "graph-test")),
    "train": ("", lambda saved, out: saved.train(out / "new")),
    "go on": ("interrupted", lambda saved, out: saved.train(out / "interrupted")),
    "copy of a run": ("", lambda saved, out: micgraph.load_run(saved.folder / "run").save(out / "new")),
    "serving": (
        "run",
        lambda saved, out: micgraph.Recommender.load(saved.folder / "run/serving").save(out / "run/serving"),
    ),
    "index of links": ("index-faiss_hnsw", _index("faiss_hnsw")),
    "index of cells": ("index-faiss_ivf", _index("faiss_ivf")),
    "refresh": ("refreshed", _refresh),
    "tune": ("tuned", lambda saved, out: saved.tune(out / "tuned", trials=3)),
    "page": ("", lambda saved, out: micgraph.inspect(saved.graph).save_page(out / "page.html")),
}
GROWS = {"train", "go on", "tune"}
"""Whoever is interrupted here goes on: an ended epoch or trial stays."""


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fill(place: Path, free: int) -> Path:
    filler = place / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(place).free - free))
    return filler


@pytest.mark.parametrize("name", SAVES)
def test_the_earlier_version_stays(name: str, small: Path, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    part, save = SAVES[name]
    refused = 0
    monkeypatch.setattr(tempfile, "tempdir", str(small / "temporary"))
    for free in FREE:
        out = small / "out"
        out.mkdir()
        (small / "temporary").mkdir()
        if part:
            shutil.copytree(saved.folder / part, out / part)
        before = tree(out)
        filler = fill(small, free * KB)
        try:
            save(saved, out)
        except ArtifactError as error:
            refused += 1
            assert "free space on that disk" in error.remedy and str(small) in error.argument
            after = tree(out)
            if name in GROWS:
                changed = {file for file in before if after.get(file) != before[file]}
                assert changed <= {"interrupted/metrics.jsonl"}  # a line more, which is cut off by who goes on
            else:
                assert after == before
        filler.unlink()
        if name in GROWS:
            save(saved, out)
        for folder in (out, small / "temporary"):
            shutil.rmtree(folder)
    assert refused


def test_a_store_on_a_full_disk_serves_on_and_takes_clicks_again(small: Path) -> None:
    with micgraph.LmdbStore(small / "store") as store:
        store.append([b"i1"], [1], [1])
        for free in (0, 4, 12, 40):
            filler, done = fill(small, free * KB), 0
            with pytest.raises(StoreError, match="free space where its disk is full, then append again"):
                for done in range(1_000):
                    store.append([b"i%d" % (done * 50 + n) for n in range(50)], [free] * 50, [free] * 50)
            assert store.read([b"i1"]).items[0] == 1
            filler.unlink()
            store.append([b"i1"], [free + 2], [free + 2])
            assert store.read([b"i1"]).items.tolist()[-1] == free + 2
            users = [b"i%d" % n for n in range(50, done * 50)]
            assert store.read(users, 1).items.tolist() == [free] * len(users)  # whatever was acknowledged is there
    with micgraph.LmdbStore(small / "store") as store:
        assert 1 in store.read([b"i1"]).items.tolist()
    shutil.rmtree(small / "store")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "x"),
        RuntimeError("write error: 12 != 20 (No space left on device)"),
        ValueError("Error while serializing: I/O error (os error 28)"),
    ],
)
def test_what_says_that_a_disk_is_full_is_named(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="room on its disk") as caught, disk.room(tmp_path / "not" / "there"):
        raise error
    assert caught.value.__cause__ is error and "bytes are free" in caught.value.remedy


def test_other_errors_pass() -> None:
    for error in (KeyError("x"), OSError(2, "no such file"), ArtifactError("a", "b", "c", "d")):
        with pytest.raises(type(error)) as caught, disk.room():
            raise error
        assert caught.value is error


def test_a_text_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "page.html"
    disk.write_text(path, "old")

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ArtifactError, match="room on its disk"):
        disk.write_text(path, "new")
    assert tree(tmp_path) == {"new/page.html": b"old"}
    with pytest.raises(ArtifactError, match="choose another path"):
        disk.write_text(path / "below", "new")
