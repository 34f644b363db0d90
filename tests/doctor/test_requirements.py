"""Ranges of versions, as packaging reads them."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from micgraph.doctor import requirements
from micgraph.doctor.parts import CORE, OPTIONAL

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
releases = st.lists(st.integers(0, 12), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
limits = st.tuples(st.sampled_from([">=", "<=", ">", "<", "==", "!="]), releases).map("".join)


@given(releases, st.sampled_from(["", "+cpu", "+cu128"]), st.lists(limits, max_size=3))
def test_a_version_fits_as_packaging_says(version: str, build: str, asked: list[str]) -> None:
    expected = all(one.contains(version) for one in SpecifierSet(",".join(asked)))
    assert requirements.fits(version + build, ",".join(asked)) == expected


@pytest.mark.parametrize("version", ["0.4.0.post1", "2.0.0rc1", "2024.1"])
def test_versions_with_more_to_them(version: str) -> None:
    assert requirements.fits(version, ">=0.3.8") and not requirements.fits(version, "<0.1")


def test_the_ranges_are_those_of_the_project() -> None:
    found = requirements.ranges()
    assert found["torch"] == ">=2.6" and found["python"] == PROJECT["requires-python"]
    assert found["torch-sparse"] == ">=0.6.18" and found["torch-scatter"] == ""
    assert found["pyyaml"] == ">=6.0"


def test_metadata_of_an_installed_package_is_read_first(monkeypatch: pytest.MonkeyPatch) -> None:

    class Message(dict):  # type: ignore[type-arg]
        def get_all(self, name: str) -> list[str]:
            return ["torch>=3", "torch-sparse >=0.7 ; extra == 'sparse'", "faiss-cpu>=1.8; extra == 'cpu'"]

    monkeypatch.setattr(metadata, "metadata", lambda name: Message({"Requires-Python": ">=3.12"}))
    assert requirements.ranges() == {
        "python": ">=3.12",
        "torch": ">=3",
        "torch-sparse": ">=0.7",
        "faiss-cpu": ">=1.8",
    }


def test_every_requirement_of_the_project_is_looked_at() -> None:
    names = {re.split(r"[<>=]", line)[0] for line in PROJECT["dependencies"]}
    assert names == {part.packages[0] for part in CORE}
    extras = {
        re.split(r"[<>=]", line)[0]
        for name, lines in PROJECT["optional-dependencies"].items()
        if name != "dev"
        for line in lines
    }
    assert extras <= {package for part in OPTIONAL for package in part.packages}
