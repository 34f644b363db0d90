"""``import micgraph`` is light, and its public names lead to where they live."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import micgraph

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torch_geometric", "numpy", "scipy", "sklearn", "numba", "duckdb", "pyarrow", "pandas", "pydantic"}


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, micgraph; dir(micgraph)\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=60)


@pytest.mark.parametrize("name", micgraph.__all__)
def test_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(micgraph, name)
    assert value.__name__ == name
    assert value.__doc__
    assert name in dir(micgraph)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        micgraph.trian  # noqa: B018


def test_help_loads_nothing_heavy() -> None:
    """Neither torch nor what reads logs: a command imports what it needs when it runs. typer may look for pydantic."""
    code = (
        "import sys\nfrom micgraph.cli import app\n"
        "app(['train', '--help'], standalone_mode=False)\napp(['--help'], standalone_mode=False)\n"
        f"heavy = {HEAVY - {'pydantic'}} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=60, stdout=subprocess.DEVNULL)


def test_the_version_stands_in_one_place() -> None:
    """In ``micgraph/__init__.py``, from which pyproject.toml has it read; the changelog begins with it."""
    pyproject = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in pyproject["project"] and pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["hatch"]["version"]["path"] == "micgraph/__init__.py"
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", changes, flags=re.MULTILINE)
    assert released[0] == micgraph.__version__
