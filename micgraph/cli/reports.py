"""The command that compares runs on a page, after those for what happened online: report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from micgraph.cli.online import app
from micgraph.cli.options import FilterSeen

__all__ = ["app"]


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Directories that train wrote, of one graph.")],
    holdout: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Held-out part, such as GRAPH-test; by default a *-valid beside the runs."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page.")] = Path("report.html"),
    k: Annotated[int, typer.Option("--k", help="Length of the lists in tables.")] = 50,
    filter_seen: FilterSeen = True,
    new_only: Annotated[bool, typer.Option("--new-only", help="Judge only clicks on items new to their user.")] = False,
    users: Annotated[int, typer.Option(help="Held-out users at most; of more, so many are drawn.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Of drawn users, items and examples.")] = 0,
) -> None:
    """Compare runs on one HTML page: epochs, recall, coverage, diversity, channels, popularity, cold users."""
    from micgraph import reporting

    found = reporting.report(runs, holdout, out, k, filter_seen, new_only, users, seed, sys.stderr.isatty())
    typer.echo(f"page: {found}")
