"""A build or an append that is killed leaves the earlier graph whole, and the next one leaves nothing of it."""

from __future__ import annotations

import gc
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

import micgraph as mg
from micgraph import artifact
from micgraph.graph.scratch import Scratch

REPOSITORY = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("MICGRAPH_KILLS", "3"))
CONFIG = {"memory_limit": "300MB", "co_occurs_top_k": 9}
BUILDING = """
import sys, micgraph as mg
log, out, config = sys.argv[1], sys.argv[2], eval(sys.argv[3])
mg.build(log, config, out)
print("ready", flush=True)
while True:
    mg.build(log, config, out)
"""


APPENDING = """
import sys, micgraph as mg
log, out, other = sys.argv[1:4]
mg.append(other, log)
print("ready", flush=True)
mg.append(out, log)
"""


def edges(graph: mg.RecGraph) -> dict[str, list[int]]:
    return {f"{n}.{part}": x.tolist() for n, rel in graph.relations.items() for part, x in rel.tensors().items()}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def killed(code: str, arguments: list[str], temporary: Path, after: float) -> None:
    """Run a program, and kill its process some seconds after it is ready, unless it has ended by then."""
    command = [sys.executable, "-c", code, *arguments]
    environment = os.environ | {"TMPDIR": str(temporary)}
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(after)
        process.kill()
    assert process.returncode in (0, -9)


def test_sigkill_at_random_moments(tiny_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, graphs, temporary = tmp_path / "clicks.parquet", tmp_path / "graphs", tmp_path / "temporary"
    graphs.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    tiny_log.clicks.to_parquet(log)
    expected = edges(mg.build(log, CONFIG, graphs / "graph"))
    moments, left = random.Random(1), set()
    for _ in range(KILLS):
        killed(BUILDING, [str(log), str(graphs / "graph"), repr(CONFIG)], temporary, moments.uniform(0, 0.5))
        left |= names(graphs) | names(temporary)
        assert edges(mg.RecGraph.load(graphs / "graph").validate()) == expected
    assert edges(mg.build(log, CONFIG, graphs / "graph")) == expected
    gc.collect()
    assert any(name.endswith(".tmp") for name in left), "the moments were not those of a build"
    assert names(graphs) == {"graph"} and not names(temporary)
    assert len(names(graphs / "graph")) == 2, "the pointer and one version"


def test_sigkill_at_random_moments_of_append(tiny_log: Any, tmp_path: Path) -> None:
    late, log = tiny_log.clicks["timestamp"] > tiny_log.clicks["timestamp"].median(), tmp_path / "late.parquet"
    tiny_log.clicks[late].to_parquet(log)
    early = edges(mg.build(tiny_log.clicks[~late], CONFIG, tmp_path / "early"))
    shutil.copytree(tmp_path / "early", tmp_path / "all")
    both = edges(mg.append(tmp_path / "all", log))
    moments, live = random.Random(1), []
    for n in range(KILLS):
        graph, other = tmp_path / f"graph-{n}", tmp_path / f"other-{n}"
        shutil.copytree(tmp_path / "early", graph)
        shutil.copytree(tmp_path / "early", other)
        killed(APPENDING, [str(log), str(graph), str(other)], tmp_path, moments.uniform(0, 0.15))
        live.append(edges(mg.RecGraph.load(graph).validate()))
        assert edges(mg.append(graph, log)) == both
        assert names(graph) == {"current", *(path.name for path in artifact.versions(graph))}, "what the kill left"
        assert [edges(mg.RecGraph.load(path)) for path in artifact.versions(graph)[:1]] == [early]
    assert all(found in (early, both) for found in live)
    assert early in live, "the moments were those after an append"


def test_a_scratch_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    with Scratch(tmp_path, "x") as first, Scratch(tmp_path, "x") as second, Scratch(tmp_path, "y") as third:
        assert {first, second, third} == set(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_what_a_dead_process_left_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\nfrom micgraph.graph.scratch import Scratch\n"
        "(Scratch(pathlib.Path(sys.argv[1]), 'x').path / 'big').write_text('1')\nos._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, check=False, timeout=120)
    (tmp_path / ".x-begun.tmp").mkdir()  # killed before it was locked
    (tmp_path / ".xy-other.tmp").mkdir()
    assert len(list(tmp_path.iterdir())) == 3
    Scratch(tmp_path, "x").remove()
    assert names(tmp_path) == {".xy-other.tmp"}
