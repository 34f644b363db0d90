"""What the command line says of itself, and that it starts at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from micgraph.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = (
    "build",
    "append",
    "inspect",
    "train",
    "evaluate",
    "recommend",
    "similar",
    "index",
    "refresh",
    "ab",
    "report",
    "doctor",
)


def test_the_installed_command_answers_for_help_at_once() -> None:
    code = (
        "import sys; from micgraph.cli import app\n"
        "try: app(['--help'], prog_name='micgraph')\n"
        "except SystemExit: pass\n"
        "sys.exit(sorted({'torch', 'duckdb', 'pyarrow', 'pandas'} & set(sys.modules)) or 0)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert all(command in shown.stdout for command in COMMANDS)


def test_the_package_is_the_command_too() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "micgraph", "inspect", "nothing"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("error: nothing: expected a directory")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    shown = result.stdout
    assert "Usage" in shown
    assert ("runs/NAME-N" in shown) == (command == "train")
