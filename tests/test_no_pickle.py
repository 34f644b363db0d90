"""No pickle is written or read: by the sources of everything that is shipped, and by what runs when a run is loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.saved import Saved

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = [
    path for name in ("micgraph", "examples", "benchmarks") for path in sorted((REPOSITORY / name).rglob("*.py"))
]
PICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
CALLS = {"read_pickle", "to_pickle", "find_class", "Unpickler", "Pickler"}
"""Of any object: of pandas, mostly."""
OF_TORCH = {"load", "save", "package", "hub"}
UNSAFE_YAML = {
    "load",
    "load_all",
    "full_load",
    "unsafe_load",
    "Loader",
    "FullLoader",
    "UnsafeLoader",
    "UnpicklingLoader",
}


def findings(source: str) -> Iterator[str]:
    """What in a source could read or write a pickle."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"import {name}" for name in modules if name.split(".")[0] in PICKLERS)
            if isinstance(node, ast.ImportFrom) and node.module in ("torch", "yaml"):
                unsafe = OF_TORCH if node.module == "torch" else UNSAFE_YAML
                yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name in unsafe)
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            unsafe = {"torch": OF_TORCH, "yaml": UNSAFE_YAML}.get(owner, set())
            if node.attr in CALLS or node.attr in unsafe:
                yield f"{owner}.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
            if not (isinstance(node.value, ast.Constant) and node.value.value is (node.arg == "weights_only")):
                yield f"{node.arg}=..."
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = str(node.args[0].value)
            if name.split(".")[0] in PICKLERS:  # such as import_module
                yield f"a call with {name!r}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_source_pickles(path: Path) -> None:
    assert list(findings(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    import joblib.memory",
        "from dill import loads",
        "torch.load(x, weights_only=True)",
        "from torch import load",
        "np.load(x, allow_pickle=True)",
        "pd.read_pickle(x)",
        "yaml.load(x, Loader=y)",
        "import_module('pickle')",
        "safe(x, weights_only=False)",
    ],
)
def test_each_way_to_pickle_is_seen(source: str) -> None:
    assert list(findings(source))


def test_what_is_safe_is_not_taken_for_a_pickle() -> None:
    assert not list(
        findings("np.load(x, allow_pickle=False)\nyaml.safe_load(x)\njson.load(x)\nimport torch\nrun.load(x)")
    )


LOADING = """
import sys
from pathlib import Path
import numba, torch, micgraph
from micgraph.knn import VectorIndex

saved, seen = Path(sys.argv[1]), []
def hook(event, arguments):
    if event == "pickle.find_class":
        seen.append(arguments)
micgraph.RecGraph, micgraph.Recommender, micgraph.LmdbStore, micgraph.Holdout
sys.addaudithook(hook)
micgraph.RecGraph.load(saved / "graph")
micgraph.Holdout.load(saved / "graph-test")
micgraph.load_run(saved / "run").metrics
micgraph.Recommender.load(saved / "run" / "serving")
VectorIndex.load(saved / "index-faiss_ivf")
micgraph.LmdbStore(saved / "store").close()
ours = list(seen)
import pickle
pickle.loads(b"cbuiltins\\nlen\\n.")
assert len(seen) == len(ours) + 1, "the hook hears nothing"
print(ours)
"""


def test_loading_unpickles_nothing(saved: Saved, tmp_path: Path) -> None:
    """Compiled loops that numba keeps on disk are pickles of its own: it has none here, and loading runs no loop."""
    command = [sys.executable, "-c", LOADING, str(saved.folder)]
    environment = {"PYTHONPATH": str(REPOSITORY), "NUMBA_CACHE_DIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
