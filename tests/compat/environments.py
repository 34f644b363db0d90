"""An environment for each combination, made once and kept between calls."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from combinations import BESIDE, EXTRAS, REPOSITORY, Combination
from interpreters import interpreter

TIMEOUT = 1800  # seconds for pip: torch with CUDA is some gigabytes


class NotInstallable(Exception):
    """Why a combination cannot be had here, in one line."""


def environment(combination: Combination, folder: Path) -> Path:
    """The Python of a combination's environment, installed where it is not there yet.

    Raises:
        NotInstallable: there is no such Python, or pip found no versions that go together.
    """
    home = folder / combination.name
    python, stamp = home / "bin" / "python", home / "installed.txt"
    wanted = "\n".join([*combination.constraints(), (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")])
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    base = interpreter(combination.python)
    if base is None:
        raise NotInstallable(f"no Python {combination.python} on this machine")
    print(f"installing {combination.name} (some minutes)", flush=True)
    _run([base, "-m", "venv", str(home)])
    constraints = home / "constraints.txt"
    constraints.write_text("\n".join(combination.constraints()) + "\n", encoding="utf-8")
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--no-compile"]
    _run([*pip, "--constraint", str(constraints), "--editable", f"{REPOSITORY}[{','.join(EXTRAS)}]", *BESIDE])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def versions(python: Path) -> dict[str, str]:
    """Package -> installed version, of what results depend on."""
    names = ("torch", "torch-geometric", "numpy", "pandas", "polars", "pyarrow", "duckdb", "scipy", "numba")
    code = f"import json; from importlib.metadata import version as v; print(json.dumps({{n: v(n) for n in {names}}}))"
    return dict(json.loads(_run([str(python), "-c", code])))


def _run(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout
    except subprocess.TimeoutExpired as error:
        raise NotInstallable(f"not done after {TIMEOUT} s") from error
    except subprocess.CalledProcessError as error:
        raise NotInstallable(last_line(error.stderr) or str(error)) from error


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
