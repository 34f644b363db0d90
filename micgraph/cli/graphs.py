"""The commands that make graphs and look into them: build, append, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from micgraph.cli.console import working
from micgraph.cli.options import Config, GraphPath, Override, app, beside

__all__ = ["app"]

if TYPE_CHECKING:
    from micgraph.graph.split import Holdout

Source = Annotated[str | None, typer.Argument(metavar="LOG", help="Parquet or CSV files; else log.source.")]
Items = Annotated[str | None, typer.Option(help="Feature table of items; else log.items.")]
Users = Annotated[str | None, typer.Option(help="Feature table of users; else log.users.")]
HELD_OUT = ("valid", "test")


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", metavar="GRAPH", help="Directory for the graph.")],
    log: Source = None,
    items: Items = None,
    users: Users = None,
    config: Config = None,
    override: Override = None,
) -> None:
    """Read a log, split it where a section "split" says so, and build the graph of its training part.

    The held-out parts are written beside the graph, as GRAPH-valid and GRAPH-test.
    """
    from micgraph.cli import experiment
    from micgraph.config import merge
    from micgraph.graph import builder

    given = {name: value for name, value in (("source", log), ("items", items), ("users", users)) if value}
    plan = experiment.experiment(merge(experiment.settings_of(config, override or ()), {"log": given}))
    with working("reading the log"):
        events = experiment.read(plan.log, plan.build)
    parts = None
    if plan.split is not None:
        with working("splitting the log"):
            parts = experiment.divide(events, plan.split)
        typer.echo(f"{parts!r}\n")
    with working("building the graph"):
        graph = builder.build(events if parts is None else parts.train, plan.build, out)
    typer.echo(f"{graph.summary()}\n\ngraph: {out}")
    for name in HELD_OUT:
        held_out: Holdout | None = getattr(parts, name, None)
        if held_out is not None:
            held_out.save(beside(out, name))
            typer.echo(f"{name}: {beside(out, name)}")


@app.command()
def append(
    graph: GraphPath,
    log: Source = None,
    items: Items = None,
    users: Users = None,
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
        events = experiment.read(plan.log, plan.build)
    with working("appending to the graph"):
        found = appending.append(graph, events, drop_old)
    typer.echo(f"{found.summary()}\n\ngraph: {graph}")
    for path in artifact.versions(graph)[:-1]:
        typer.echo(f"earlier version: {path}")


@app.command()
def inspect(
    graph: GraphPath,
    user: Annotated[str | None, typer.Option(metavar="ID", help="A user to look at instead.")] = None,
    item: Annotated[str | None, typer.Option(metavar="ID", help="An item to look at instead.")] = None,
    holdout: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Held-out part, such as GRAPH-test: what does the graph know of it?"),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write all there is, with figures, as one page.")
    ] = None,
) -> None:
    """Show what is in a graph and what of it is held out: schema, degrees, sessions, overlaps; or one user or item."""
    from micgraph import inspection
    from micgraph.cli import ids
    from micgraph.graph.recgraph import RecGraph

    loaded = RecGraph.load(graph)
    given = {
        name: ids.typed([text], known, f"--{name}")[0].as_py()
        for name, text, known in (("user", user, loaded.users), ("item", item, loaded.items))
        if text is not None and known is not None
    }
    found = inspection.inspect(loaded, holdout=holdout, **given)
    typer.echo(str(found))
    if html is not None:
        typer.echo(f"\npage: {found.save_page(html)}")
