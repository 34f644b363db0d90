"""Commands as tests run them, and an experiment for them."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from micgraph.cli import app

EXPERIMENT: dict[str, Any] = {
    "log": {"source": "clicks.parquet", "items": "items.parquet", "users": "users.parquet"},
    "split": {"kind": "temporal", "test": "2d"},
    "build": {"semantic": ["tags"], "semantic_k": 3},
    "model": {"encoder": "gru4rec", "dim": 16, "history": 20},
    "tasks": {"ui": None, "uu": None, "ii": None},
    "sampling": {"batch_size": 64},
    "training": {"epochs": 5, "monitor": "recall@20"},
}


def lines_of(*arguments: str) -> list[str]:
    """The lines that a command prints; it must end well."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refusal_of(*arguments: str) -> str:
    """The one line of a command that must fail."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line
