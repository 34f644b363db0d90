"""Any byte changed, any file cut or missing in a saved directory: a named error, or what is read without it too."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import micgraph
from micgraph import artifact
from micgraph.knn import VectorIndex
from micgraph.schema import ArtifactError
from tests.saved import KINDS, QUIET, SMALL, Saved

pytest.importorskip("faiss", reason="the cpu extra is not installed")
pytest.importorskip("lmdb", reason="the serve extra is not installed")
pytest.importorskip("optuna", reason="the tune extra is not installed")

FLIPS = int(os.environ.get("MICGRAPH_FLIPS", "1"))
"""Changed bytes a file, besides its first and last one; each is one bit."""


def _index(path: Path) -> Any:
    return [found.tolist() for found in VectorIndex.load(path).search(torch.ones(2, 8), 5)]


def _graph(path: Path) -> Any:
    return micgraph.RecGraph.load(path).fingerprint()


def _versions(path: Path) -> Any:
    return [_graph(version) for version in artifact.versions(path)]


def _holdout(path: Path) -> Any:
    found = micgraph.Holdout.load(path)
    return found.histories.arrow().to_pydict(), found.targets.arrow().to_pydict(), found.manifest


def _run(path: Path) -> Any:
    run = micgraph.load_run(path)
    weights = [float(values.detach().sum()) for values in run.towers.parameters()]
    return run.config, list(run.metrics), run.graph.fingerprint(), run.learned, weights


def _serving(path: Path) -> Any:
    return micgraph.Recommender.load(path).recommend(["u1", "u2"], k=3).to_dict()


READERS: dict[str, Callable[[Path], Any]] = {
    "graph": _graph,
    "appended": _versions,
    "graph-test": _holdout,
    "run": _run,
    "refreshed": _run,
    "run/serving": _serving,
    **{f"index-{kind}": _index for kind in KINDS},
}
NOT_READ = {
    "run": ("last", "serving"),  # but for what last says of metrics.jsonl
    "refreshed": ("best", "fusion", "graph", "last", "lock", "metrics.jsonl", "serving", "setup"),
}
"""What loading leaves alone, so that it need not be whole."""


def damages(content: bytes, draw: random.Random) -> Iterator[tuple[str, bytes | None]]:
    """What may have become of a file."""
    yield from (("missing", None), ("empty", b""), ("cut", content[: len(content) // 2]))
    for place in {0, len(content) - 1, *(draw.randrange(len(content)) for _ in range(FLIPS))}:
        bit = draw.randrange(8)
        yield f"bit {bit} of byte {place}", content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


@pytest.mark.parametrize("name", READERS)
def test_damage_is_named(name: str, saved: Saved, tmp_path: Path) -> None:
    draw, read, copy = random.Random(name), READERS[name], tmp_path / "copy"
    shutil.copytree(saved.folder / name, copy)
    whole = read(copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    for file in files:
        if file.relative_to(copy).parts[0] in NOT_READ.get(name, ()):
            continue
        content = file.read_bytes()
        for what, damaged in damages(content, draw):
            file.unlink() if damaged is None else file.write_bytes(damaged)
            _named_or_equal(read, copy, whole, f"{file.relative_to(copy)}, {what}", must=name != "refreshed")
            file.write_bytes(content)
    assert read(copy) == whole


def _named_or_equal(read: Callable[[Path], Any], path: Path, whole: Any, what: str, must: bool) -> None:
    try:
        found = read(path)
    except ArtifactError as error:
        assert str(path) in str(error) and error.remedy, what
    else:
        assert not must, f"{what}: not noticed"
        assert found == whole, f"{what}: another result"


def test_an_interrupted_run_with_a_damaged_checkpoint_does_not_go_on(saved: Saved, tmp_path: Path) -> None:
    graph, valid, draw = saved.graph, saved.valid, random.Random(1)

    def resume(path: Path) -> Any:
        return micgraph.train(graph, "gru4rec", valid, SMALL, path, **QUIET)

    for file in sorted(p for p in (saved.folder / "interrupted" / "last").rglob("*") if p.is_file()):
        for number, (what, damaged) in enumerate(damages(file.read_bytes(), draw)):
            copy = tmp_path / f"{file.name}-{number}"
            shutil.copytree(saved.folder / "interrupted", copy)
            here = copy / file.relative_to(saved.folder / "interrupted")
            here.unlink() if damaged is None else here.write_bytes(damaged)
            with pytest.raises(ArtifactError) as caught:
                resume(copy)
            assert str(copy) in str(caught.value), what


def test_a_search_with_a_damaged_trial_does_not_go_on(saved: Saved, tmp_path: Path) -> None:
    draw, copy = random.Random(1), tmp_path / "copy"
    shutil.copytree(saved.folder / "tuned", copy)
    for name in ("study.json", "trials/000.json", "trials/001.json"):
        content = (copy / name).read_bytes()
        for what, damaged in damages(content, draw):
            if damaged is None:
                continue  # a trial that is not there is run again, with the same result
            (copy / name).write_bytes(damaged)
            with pytest.raises(ArtifactError, match=Path(name).name) as caught:
                saved.tune(copy)
            assert caught.value.remedy, what
        (copy / name).write_bytes(content)
    assert saved.tune(copy).config == saved.tune(saved.folder / "tuned").config


def test_a_store_that_was_cut_is_refused(saved: Saved, tmp_path: Path) -> None:
    content = (saved.folder / "store" / "data.mdb").read_bytes()
    for number, size in enumerate((0, 1, 4_096, 10_000, len(content) // 2, len(content) - 4_096, len(content) - 1)):
        for lock in (True, False):
            copy = tmp_path / f"{number}-{lock}"
            copy.mkdir()
            (copy / "data.mdb").write_bytes(content[:size])
            if lock:
                shutil.copy(saved.folder / "store" / "lock.mdb", copy)
            with pytest.raises(ArtifactError, match=str(copy)):
                micgraph.LmdbStore(copy)


def test_a_changed_history_in_a_store_is_refused(saved: Saved, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(saved.folder / "store", copy)
    with micgraph.LmdbStore(copy) as store:
        history = store._read([b"i1"], store.size)[0]
    content = (copy / "data.mdb").read_bytes()
    assert len(history) == 20 * 16 and content.count(history) == 1
    for place in (0, 7, 8, len(history) - 1):
        at = content.index(history) + place
        (copy / "data.mdb").write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with micgraph.LmdbStore(copy) as store:
            with pytest.raises(micgraph.StoreError, match="histories written by micgraph"):
                store.read([b"i1"])
            with pytest.raises(micgraph.StoreError, match="restore the store"):
                store.append([b"i1"], [1], [10**6])
            assert store.read([b"i2"]).items.tolist() == list(range(1, 40, 2))
