"""The app and the options that its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micgraph.cli.console import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="From behaviour logs to a graph, two towers trained on it, and recalls with their reasons.",
)

Config = Annotated[Path | None, typer.Option("--config", help="YAML file, such as those under configs/.")]
Override = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as training.epochs=3.")
]
GraphPath = Annotated[Path, typer.Argument(metavar="GRAPH", help="Directory that build wrote.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Directory that train wrote.")]
Length = Annotated[int, typer.Option("--k", help="Length of a list.")]
FilterSeen = Annotated[bool, typer.Option("--filter-seen/--keep-seen", help="Leave out what a user has clicked.")]


def beside(graph: Path, part: str) -> Path:
    """Where ``build`` puts a held-out part."""
    return graph.with_name(f"{graph.name}-{part}")


@app.callback()
def start(
    modules: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE", help="Module that registers encoders, tasks, channels."),
    ] = None,
) -> None:
    """Runs before every command."""
    if modules:
        from micgraph.extending import import_modules

        import_modules(modules)
