"""The command append."""

from __future__ import annotations

from typing import Annotated

import typer

from micgraph.cli.commands import Config, GraphPath, Override, app
from micgraph.cli.console import working


@app.command()
def append(
    graph: GraphPath,
    log: Annotated[str | None, typer.Argument(metavar="LOG", help="Parquet or CSV files; else log.source.")] = None,
    items: Annotated[str | None, typer.Option(help="Feature table of items; else log.items.")] = None,
    users: Annotated[str | None, typer.Option(help="Feature table of users; else log.users.")] = None,
    config: Config = None,
    override: Override = None,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Remove the earlier versions of the graph.")] = False,
) -> None:
    """Add a later log, such as a new day, to a graph, with the settings that it was built with.

    Of the config only the section "log" counts. Earlier versions of the graph stay on disk, and are named.
    """
    from micgraph import artifact
    from micgraph.cli import experiment
    from micgraph.config import merge
    from micgraph.graph import appending

    given = {name: value for name, value in (("source", log), ("items", items), ("users", users)) if value}
    plan = experiment.experiment(merge(experiment.settings_of(config, override or ()), {"log": given}))
    with working("reading the log"):
        events = experiment.read(plan.log, plan.build.memory_limit)
    with working("appending to the graph"):
        found = appending.append(graph, events, drop_old)
    typer.echo(f"{found.summary()}\n\ngraph: {graph}")
    for path in artifact.versions(graph)[:-1]:
        typer.echo(f"earlier version: {path}")
