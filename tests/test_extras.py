"""The extras that errors name are those of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from micgraph.extras import EXTRAS, missing, pip_line
from micgraph.schema import MissingExtraError

REPOSITORY = Path(__file__).resolve().parents[1]


def test_every_extra_brings_what_it_is_said_to_bring() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    brought = {
        extra: {re.split(r"[<>=!~;\[ ]", line)[0] for line in lines}
        for extra, lines in project["optional-dependencies"].items()
    }
    assert set(EXTRAS) == set(brought) - {"dev"}
    for extra, packages in EXTRAS.items():
        others = {package for name in EXTRAS if name != extra for package in EXTRAS[name]} | {"pandas"}
        assert set(packages) <= brought[extra] and brought[extra] - set(packages) <= others, extra


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_package_is_named_with_the_line_that_installs_it(extra: str) -> None:
    for package in EXTRAS[extra]:
        assert pip_line(package) == f"pip install 'micgraph[{extra}]'"
        error = missing("index", package, "take torch")
        assert isinstance(error, MissingExtraError)
        assert str(error) == (
            f"index: expected the package {package}, got no such package; {pip_line(package)}, or take torch"
        )
