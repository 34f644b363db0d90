"""The environment that torch-rechub and RecBole are installed into: RecBole wants an older numpy than micgraph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

NEEDS = ["setuptools<81", "numpy<2", "pandas<3", "scipy", "scikit-learn", "tqdm", "PyYAML", "tensorboard", "tabulate"]
NEEDS += ["texttable", "psutil", "thop", "colorlog==4.7.2", "colorama==0.4.4"]
"""What the two import. RecBole's own list has ray and plotly as well, for searches and figures."""

RIVALS = ["torch-rechub==0.9.0", "recbole==1.2.1"]


def interpreter(folder: Path) -> tuple[str | None, str]:
    """The rivals' Python, installed if it is not there yet.

    Args:
        folder: of the environment; made where there is none.

    Returns:
        Its path, and ""; or None and the reason.
    """
    python = folder / "bin" / "python"
    if _answers(python):
        return str(python), ""
    print(f"installing {' and '.join(RIVALS)} into {folder} (once, some minutes)", flush=True)
    same_torch = f"torch=={torch.__version__.split('+')[0]}"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, text=True)
        for packages in ([same_torch], NEEDS, ["--no-deps", *RIVALS]):
            subprocess.run([*pip, *packages], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        told = [line for line in (error.stderr or "").splitlines() if line.strip()] or [str(error)]
        return None, f"they cannot be installed: {told[-1]}"
    return (str(python), "") if _answers(python) else (None, f"they cannot be imported by {python}")


def _answers(python: Path) -> bool:
    if not python.exists():
        return False
    check = [str(python), "-c", "import recbole.trainer, torch_rechub.trainers"]
    return subprocess.run(check, capture_output=True).returncode == 0
