"""Which versions are tried together, and the constraints that pip is given for each."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

EXTRAS = ("cpu", "serve")
BESIDE = ("pandas", "polars", "pytest", "hypothesis")
"""What the journey and the tests want beside micgraph's own dependencies."""

NAMED = ("torch", "numpy", "pandas")
NEWEST, LOWEST, FREE = "constraints.txt", "lowest bounds", "newest on the index"


@dataclass(frozen=True)
class Combination:
    """Versions that are installed together.

    Attributes:
        python: such as ``3.11``.
        base: where versions come from that ``pins`` do not name: ``constraints.txt``, the lowest bounds of
            pyproject.toml, or whatever pip chooses.
        pins: package -> the version that is asked for; ``2.6`` takes 2.6.0.
    """

    python: str
    base: str
    pins: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as ``py311-lowest`` or ``py312-torch2.13-numpy2.0-pandas2.3``."""
        base = {NEWEST: "tested", LOWEST: "lowest", FREE: ""}[self.base]
        pins = [f"{name}{'.'.join(version.split('.')[:2])}" for name, version in self.pins.items() if name in NAMED]
        return "-".join(part for part in (f"py{self.python.replace('.', '')}", base, *pins) if part)

    def constraints(self) -> list[str]:
        """Lines of a constraints file for pip."""
        known = {NEWEST: tested, LOWEST: lowest, FREE: dict}[self.base]() | self.pins
        return [f"{package}=={version}" for package, version in known.items()]


COMBINATIONS = (
    Combination("3.11", NEWEST),
    # pyarrow 26 refuses numpy 1.26 when it is imported, which its metadata does not say
    Combination("3.11", FREE, {"torch": "2.13.0", "numpy": "1.26.4", "pandas": "2.2.3", "pyarrow": "25.0.1"}),
    Combination("3.11", LOWEST),
    Combination("3.12", FREE, {"torch": "2.13.0", "numpy": "2.0.2", "pandas": "2.3.3"}),
    Combination("3.13", NEWEST),
    Combination("3.13", FREE, {"torch": "2.6.0", "numpy": "2.1.3", "pandas": "2.2.3"}),
)


def tested() -> dict[str, str]:
    """Package -> version of constraints.txt."""
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def lowest() -> dict[str, str]:
    """Package -> lowest version that pyproject.toml allows, of the core, the extras tried here and what is beside."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    beside = [need for need in extras["dev"] if re.split("[<>=]", need)[0] in BESIDE]
    needs = [*project["dependencies"], *(need for extra in EXTRAS for need in extras[extra]), *beside]
    return dict(need.split(">=") for need in needs)
