"""The import rule of docs/architecture.md, read from the source: nothing imports upwards, bare modules stay bare."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import micgraph

PACKAGE = Path(micgraph.__file__).parent
REPOSITORY = PACKAGE.parent

# From the bottom to the top. Names of one set never import each other; an inner tuple is one unit and may.
LAYERS: list[set[str | tuple[str, ...]]] = [
    {("schema", "extras")},
    {"disk"},
    {
        ("artifact", "manifests", "versions", "sealed"),
        ("config", "plain_yaml"),
        ("drawing", "document"),
        "progress",
        "ranks",
        "registration",
        ("rng", "rng_kernel", "compiled"),
    },
    {("ids", "id_table", "id_kernel"), "knn"},
    {"graph", "stores"},
    {"sampling", "nn", "datasets"},
    {"tasks"},
    {"training", "retrieval", "metrics"},
    {("evaluation", "baselines", "significance", "online"), "inspection"},
    {
        (
            "pipeline",
            "placing",
            "presets",
            "run",
            "run_setup",
            "origin",
            "epochs",
            "assembly",
            "warm",
            "extending",
            "refreshing",
            "tuning",
            "experiments",
        )
    },
    {"reporting", "doctor"},
    {"cli"},
    {"__main__"},
]
# What runs on a machine that has only these beside the standard library, their own imports included.
GRAPH = ("relation", "reading", "tickets", "membership", "row_kernel", "product", "context", "fields", "recgraph")
BARE = (
    "rng",
    "rng_kernel",
    "ranks",
    "sampling",
    "nn",
    "tasks",
    "training",
    "metrics",
    *(f"graph.{name}" for name in GRAPH),
)
BARE_ALLOWED = {"torch", "torch_geometric", "numpy", "numba", "scipy", "safetensors"}


def _modules(folder: Path = PACKAGE) -> dict[str, Path]:
    """Dotted name below ``micgraph`` -> file; packages under their own name, the root as the empty string."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(node: ast.AST, lazy: bool) -> Iterator[str]:
    """Absolute names imported below ``node``; ``lazy`` adds those of functions and of ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: relative import"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif lazy or not (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(child)):
            yield from _imports(child, lazy)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _own(name: str) -> str | None:
    """The micgraph module of an imported name: ``micgraph.rng.bits`` -> ``rng``; None for other packages."""
    root, *parts = name.split(".")
    if root != "micgraph":
        return None
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


def _layer(unit: str) -> tuple[int, str | tuple[str, ...]]:
    for height, layer in enumerate(LAYERS):
        for entry in layer:
            if unit == entry or (isinstance(entry, tuple) and unit in entry):
                return height, entry
    raise AssertionError(f"micgraph/{unit} has no layer: give it one here and in docs/architecture.md")


def _violation(importer: str, imported: str) -> str | None:
    """Why ``importer`` (a module) may not import ``imported`` (a module; empty: the public face), or None."""
    if not imported:
        return f"{importer} imports from the public face of micgraph"
    mine, theirs = _layer(importer.split(".")[0]), _layer(imported.split(".")[0])
    if theirs[0] > mine[0]:
        return f"{importer} imports upwards: {imported}"
    if theirs[0] == mine[0] and theirs[1] != mine[1]:
        return f"{importer} imports its neighbour {imported}"
    return None


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_nothing_imports_upwards_or_sideways(name: str) -> None:
    names = set(_imports(_tree(MODULES[name]), lazy=True)) - {"micgraph.__version__"}
    found = [_violation(name, own) for own in map(_own, names) if own is not None]
    assert not [problem for problem in found if problem]


def test_the_rule_itself_refuses_what_it_should() -> None:
    assert _violation("graph.events", "schema") is None
    assert _violation("graph.events", "graph.split") is None
    assert _violation("evaluation", "baselines") is None
    assert _violation("graph.events", "training")
    assert _violation("nn.towers", "sampling.batch")
    assert _violation("retrieval.fusion", "metrics")
    assert _violation("tasks.losses", "")
    source = "import a\nfrom b import c\nif TYPE_CHECKING:\n    import d\ndef f():\n    import e\n"
    assert list(_imports(ast.parse(source), lazy=False)) == ["a", "b.c"]
    assert list(_imports(ast.parse(source), lazy=True)) == ["a", "b.c", "d", "e"]


def _bare_modules() -> list[str]:
    return [name for name in MODULES if any(name == bare or name.startswith(f"{bare}.") for bare in BARE)]


@pytest.mark.parametrize("name", _bare_modules())
def test_bare_modules_and_what_they_import_stay_bare(name: str) -> None:
    reached, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        if module in reached:
            continue
        reached.add(module)
        waiting += [".".join(module.split(".")[:depth]) for depth in range(module.count(".") + 1)]  # parent packages
        for imported in _imports(_tree(MODULES[module]), lazy=False):
            own = _own(imported)
            if own is not None:
                waiting.append(own)
                continue
            root = imported.split(".")[0]
            assert root in BARE_ALLOWED or root in sys.stdlib_module_names, f"{module} imports {root} at its top"


def test_bare_modules_import_without_the_other_packages() -> None:
    names = [f"micgraph.{name}" for name in _bare_modules()]
    blocked = ("duckdb", "pydantic", "pyarrow", "typer", "faiss")
    code = (
        f"import sys, importlib\nsys.modules.update(dict.fromkeys({blocked!r}))\n"
        f"for name in {names!r}: importlib.import_module(name)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=120)


def test_no_module_bears_the_name_of_something_public_beside_it() -> None:
    """``micgraph.train`` is a function: a module ``micgraph/train.py`` would replace it once imported."""
    for package, path in MODULES.items():
        if path.name != "__init__.py":
            continue
        public = set(micgraph.__all__) if not package else {n.split(".")[-1] for n in _imports(_tree(path), lazy=True)}
        public |= {node.name for node in _tree(path).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        beside = {p.stem for p in path.parent.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
        assert not public & beside, f"in micgraph/{package}"


def test_no_utils() -> None:
    assert not {"utils", "util", "helpers", "misc", "common"} & {name.split(".")[-1] for name in MODULES}
