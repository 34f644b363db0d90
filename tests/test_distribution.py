"""The wheel and the sdist: what is in them, and that each works where it is installed and nothing else of ours is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import micgraph

REPOSITORY = Path(__file__).resolve().parents[1]
NAME = f"micgraph-{micgraph.__version__}"

pytestmark = pytest.mark.skipif(
    find_spec("build") is None or find_spec("hatchling") is None, reason="build and hatchling are not installed"
)

TINY = """
import json, sys
from pathlib import Path
import micgraph as mg
assert sys.prefix in mg.__file__, mg.__file__
graph = mg.build("clicks.parquet")
run = mg.train(graph, "youtube_dnn", config={"training": {"epochs": 1}}, device="cpu")
frame = mg.Recommender(run).recommend(["u1"], k=3)
print(json.dumps([mg.__version__, list(frame["item_id"])]))
"""
TYPED = """
import micgraph as mg
run = mg.train(mg.build("clicks.parquet"), "gru4rec+mic")
reveal_type(run)
reveal_type(mg.load_run)
reveal_type(mg.Recommender(run).save)
mg.train(3)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that is built from the sdist, as an index would have them."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _wheel(built: Path) -> Path:
    return built / f"{NAME}-py3-none-any.whl"


def _sdist(built: Path) -> Path:
    return built / f"{NAME}.tar.gz"


def _tracked() -> set[str]:
    """Files of the package as they lie here, caches aside."""
    files = (path for path in (REPOSITORY / "micgraph").rglob("*") if path.is_file())
    return {path.relative_to(REPOSITORY).as_posix() for path in files if "__pycache__" not in path.parts}


def test_the_wheel_has_the_package_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(_wheel(built)) as wheel:
        names = set(wheel.namelist())
    info = {name for name in names if name.startswith(f"{NAME}.dist-info/")}
    assert names - info == _tracked()
    assert "micgraph/py.typed" in names and f"{NAME}.dist-info/licenses/LICENSE" in info


def test_the_sdist_has_what_its_own_checks_need(built: Path) -> None:
    with tarfile.open(_sdist(built)) as sdist:
        names = {name.removeprefix(f"{NAME}/") for name in sdist.getnames()}
    roots = {name.split("/")[0] for name in names}
    assert roots == {
        *(".ci", "benchmarks", "configs", "docs", "examples", "micgraph", "tests"),
        *(".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile"),
        *("README.md", "PKG-INFO", "constraints.txt", "pyproject.toml"),
    }
    assert _tracked() <= names and {".ci/run", "tests/conftest.py"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".parquet", ".safetensors"))]


def test_the_wheel_works_where_it_is_installed(built: Path, tiny_files: Path, tmp_path: Path) -> None:
    python = _installed(_wheel(built), tmp_path / "fresh environment")
    version, items = json.loads(_said([str(python), "-c", TINY], tiny_files).splitlines()[-1])
    assert version == micgraph.__version__ and len(set(items)) == 3


def test_the_sdist_can_be_installed(built: Path, tmp_path: Path) -> None:
    python = _installed(_sdist(built), tmp_path / "fresh environment")
    code = "import sys, micgraph; assert sys.prefix in micgraph.__file__; print(micgraph.__version__)"
    assert _said([str(python), "-c", code], tmp_path).strip() == micgraph.__version__
    assert "recommend" in _said([str(python.with_name("micgraph")), "--help"], tmp_path)


def test_a_type_checker_sees_types_of_what_is_installed(built: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    python = _installed(_wheel(built), tmp_path / "fresh environment")
    script = tmp_path / "script.py"
    script.write_text(TYPED, encoding="utf-8")
    settings = tmp_path / "mypy.ini"  # what micgraph stands on is large, and not what is asked here
    heavy = ("torch", "torch_geometric", "numpy", "pandas", "pyarrow", "pydantic", "typer", "rich", "duckdb", "numba")
    skipped = (f"[mypy-{name}.*]\nfollow_imports = skip\nfollow_imports_for_stubs = True" for name in heavy)
    settings.write_text("\n".join(["[mypy]\nignore_missing_imports = True", *skipped]), encoding="utf-8")
    options = [
        "--config-file",
        str(settings),
        "--python-executable",
        str(python),
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    command = [sys.executable, "-m", "mypy", *options, str(script)]
    found = subprocess.run(command, cwd=tmp_path, env=_environ(), capture_output=True, text=True, timeout=300)
    revealed = [line.split('"')[1] for line in found.stdout.splitlines() if "Revealed type" in line]
    assert revealed[0] == "micgraph.run.Run" and revealed[1].endswith("-> micgraph.run.Run"), found.stdout
    assert "path: str | pathlib.Path" in revealed[2].replace("builtins.", "").replace("pathlib._local", "pathlib")
    assert 'error: Argument 1 to "train" has incompatible type "int"' in found.stdout


def _installed(archive: Path, home: Path) -> Path:
    """The Python of a new environment that has the archive itself, and of the running one everything but micgraph."""
    _said([sys.executable, "-m", "venv", "--without-pip", str(home)], archive.parent)
    python = home / "bin" / "python"
    ours = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (ours / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    options = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    _said([str(python), "-m", "pip", *options, str(archive)], archive.parent)
    return python


def _said(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=_environ(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environ() -> dict[str, str]:
    """Without the variable by which the checkout would be imported instead."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
