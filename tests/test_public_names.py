"""``import micgraph`` is light, and its public names lead to where they live."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import micgraph

REPOSITORY = Path(__file__).resolve().parents[1]


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, micgraph; dir(micgraph)\n"
        "heavy = {'torch', 'torch_geometric', 'numpy', 'scipy', 'duckdb', 'pyarrow', 'pandas', 'pydantic'}\n"
        "sys.exit(f'loaded: {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)"
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


def test_version_is_the_packages() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert micgraph.__version__ == project["version"]
