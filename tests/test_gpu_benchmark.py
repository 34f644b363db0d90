"""The program for a bare GPU machine runs at toy size on the CPU, with nothing but what such a machine has."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.small_data import films

REPOSITORY = Path(__file__).resolve().parents[1]
ABSENT = ("duckdb", "pydantic", "pydantic_core", "pyarrow", "pandas", "polars", "faiss", "yaml", "typer", "sklearn")
SECTIONS = {"graphs", "limits", "sampler", "batches", "steps", "retrieval", "host syncs", "parity"}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module


def bench(module: Any) -> Any:
    graphs = {"generated": module("gpu_data").generated(4000)}
    return module("gpu_bench").Bench(torch.device("cpu"), True, graphs, dict(graphs))


def test_all_sections_on_a_bare_machine(module: Any, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    module("gpu_data").prepare(tmp_path / "data", str(films(tmp_path / "raw")), None)
    code = (
        f"import sys, runpy\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n"
        f"sys.argv = ['gpu.py', '--device', 'cpu', '--small', '--data', {str(tmp_path / 'data')!r}]\n"
        f"sys.path[:0] = ['benchmarks', '.']\nrunpy.run_path('benchmarks/gpu.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, timeout=300)
    found = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, found["failures"], found["left_out"]) == (0, {}, [])
    assert set(found["found"]) == SECTIONS and found["parity_counts"] is False
    assert {"ml1m, edges", "generated, edges"} <= set(found["found"]["graphs"])
    assert found["found"]["parity"]["khop"] == "equal"
    assert found["found"]["sampler"]["ml1m, edges a second"] > 0


def test_a_section_fails_alone(
    module: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = module("gpu")

    def broken(bench: Any) -> None:
        bench.tell("before", 1)
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(gpu.SECTIONS, "limits", (broken, 5))
    assert gpu.main(["--device", "cpu", "--small", "--only", "limits,retrieval"]) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["failures"]) == {"limits"} and "no such kernel" in found["failures"]["limits"]
    assert found["found"]["limits"]["before"] == 1
    shares = [value for what, value in found["found"]["retrieval"].items() if "share" in what]
    assert len(found["found"]["retrieval"]) == 3 and shares == [None]  # of limits that nobody knows


def test_what_the_time_leaves_out_is_told(module: Any) -> None:
    one = bench(module)
    one.run("batches", module("gpu_speed").batches, -1.0)
    assert len(one.left_out) == 5 and all(what.endswith("(time)") for what in one.left_out)
    assert set(one.found["batches"]) == {"section's seconds"}


def test_a_difference_between_both_sides_is_found(module: Any) -> None:
    parity = module("gpu_parity")
    one = bench(module)
    graph = one.local["generated"]
    pairs = graph.relations["co_occurs"]
    other = replace(graph, relations={**graph.relations, "co_occurs": replace(pairs, cum=pairs.cum.flip(0))})
    different = [what for what, left, right in parity._pairs(graph, other) if parity._unequal(left, right, what)]
    assert different == ["draw, weighted, with replacement", "draw, weighted, without replacement"]
    one.local["generated"] = other
    one.until = time.perf_counter()  # no time for models
    one.section, one.found["parity"] = "parity", {}
    with pytest.raises(AssertionError, match="weighted"):
        parity.parity(one)


def test_parts_of_batches_are_compared(module: Any) -> None:
    parity, model = module("gpu_parity"), module("gpu_bench").Model
    made = model.make("ican+micrec", {"sampling": {"batch_size": 8}}, bench(module).graph)
    batch = made.batch(0)
    assert not parity._unequal(batch, made.batch(0), "batch")
    kind = next(iter(batch.negatives))
    changed = replace(
        batch,
        items=batch.items + 1,
        negatives={**batch.negatives, kind: replace(batch.negatives[kind], log_q=batch.negatives[kind].log_q * 1.01)},
    )
    assert parity._unequal(batch, changed, "batch") == ["batch.items", f"batch.negatives.{kind}.log_q"]
