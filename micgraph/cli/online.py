"""The command for what happened online, after those that ask a run: ab."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from micgraph.cli.console import working
from micgraph.cli.serving import app

__all__ = ["app"]


@app.command()
def ab(
    log: Annotated[str, typer.Argument(metavar="LOG", help="Parquet or CSV files with arm, user_id, event.")],
    control: Annotated[str, typer.Option(metavar="ARM", help="The arm that the others are compared with.")] = "control",
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=VALUES", help="What an event is, such as view=play,watch or other=share."),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="Name of a column, such as user_id=uid.")
    ] = None,
    history: Annotated[
        str | None, typer.Option(metavar="LOG", help="Clicks before the test, for metrics of cold users.")
    ] = None,
    cold_below: Annotated[int, typer.Option(help="Users with fewer clicks in the history are cold.")] = 5,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Draws of the bootstrap.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the result as JSON.")] = None,
) -> None:
    """Compare the arms of an A/B test: clicks, dwell time, likes, follows, videos, channels; with tests over users."""
    from micgraph import disk
    from micgraph.cli.ids import listed
    from micgraph.online import ab_test

    events = {role: listed(values) for role, values in _pairs("--event", event).items()}
    columns = _pairs("--column", column)
    with working("comparing the arms"):
        found = ab_test(log, control, columns, events, history, cold_below, level, resamples, seed)
    typer.echo(str(found))
    if json is not None:
        disk.write_text(json, found.json() + "\n")
        typer.echo(f"\njson: {json}")


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """``["a=b"]`` -> ``{"a": "b"}``."""
    from micgraph.schema import InputError

    found: dict[str, str] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise InputError(option, "NAME=VALUE", repr(text), "write it as in view=play")
        if name in found:
            raise InputError(option, f"{name!r} once", "twice", "separate several values by commas")
        found[name.strip()] = value.strip()
    return found
