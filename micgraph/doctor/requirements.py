"""Which versions of packages micgraph asks for, and which are here: read from metadata, nothing is imported."""

from __future__ import annotations

import operator
import re
import tomllib
from importlib import metadata
from itertools import zip_longest
from pathlib import Path

_LINE = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)")
_LIMIT = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)*)")
_HOLDS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def ranges() -> dict[str, str]:
    """Package -> the versions asked for, such as ``{"torch": ">=2.6"}``; "" for any. ``"python"`` is among them.

    Read from what was installed; for a source tree that was not, from its pyproject.toml; empty where neither is.
    """
    lines, python = _asked()
    found = {"python": python} if python else {}
    for line in lines:
        if match := _LINE.match(line):
            found.setdefault(match[1].lower(), match[2].strip())
    return found


def _asked() -> tuple[list[str], str]:
    try:
        about = metadata.metadata("micgraph")
        return list(about.get_all("Requires-Dist") or ()), about["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        path = Path(__file__).resolve().parents[2] / "pyproject.toml"
        if not path.is_file():
            return [], ""
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        extras = [line for lines in project["optional-dependencies"].values() for line in lines]
        return [*project["dependencies"], *extras], project["requires-python"]


def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Of these packages, those that are installed, with their versions."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def fits(version: str, asked: str) -> bool:
    """Whether a version such as ``2.13.0+cpu`` is among those asked for, such as ``>=2.6,<3``; releases count alone."""
    mine = _release(version)
    for sign, limit in _LIMIT.findall(asked):
        pairs = list(zip_longest(mine, _release(limit), fillvalue=0))
        if not _HOLDS[sign]([pair[0] for pair in pairs], [pair[1] for pair in pairs]):
            return False
    return True


def _release(version: str) -> list[int]:
    """The leading numbers of a version."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return [int(part) for part in match[0].split(".")] if match else []
