"""The command that looks at what is installed and at saved directories: doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from micgraph.cli.console import working
from micgraph.cli.reports import app

__all__ = ["app"]


@app.command()
def doctor(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH...", help="Graphs, runs, holdouts, what serves, indexes, stores of live clicks."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead, such as for a bug report.")] = False,
) -> None:
    """Show what is installed and works, what is missing and how to install it, and whether saved directories are whole.

    The exit status is 1 where something needed does not work or a path is damaged; optional parts may be missing.
    """
    from micgraph.doctor.diagnosis import diagnose

    with working("looking at packages and paths"):
        found = diagnose(paths or ())
    typer.echo(json.dumps(found.as_json(), indent=1) if as_json else str(found))
    if not found.ok:
        raise typer.Exit(1)
