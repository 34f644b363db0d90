"""What the commands print and how they fail: plain tables on stdout, progress and one-line errors on stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from micgraph.schema import MicgraphError

if TYPE_CHECKING:
    import pyarrow as pa

EXIT = 2
"""Exit code of every error that micgraph raises on purpose, as of a wrong command line."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it."""


class Commands(TyperGroup):
    """Shows the library's messages, and turns a MicgraphError of any command into one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with messages():
                return super().invoke(ctx)
        except MicgraphError as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(EXIT) from error


class _Echo(logging.Handler):
    """A message is one line on stderr, wherever that leads at the moment; what is serious says so."""

    def emit(self, record: logging.LogRecord) -> None:
        what = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        typer.echo(f"{what}{record.getMessage()}", err=True)


@contextmanager
def messages() -> Iterator[None]:
    """Show what the logger ``micgraph`` says, from INFO on, on stderr."""
    logger, echo = logging.getLogger("micgraph"), _Echo()
    level = logger.level
    logger.addHandler(echo)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(echo)
        logger.setLevel(level)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner with ``what`` is being done, where stderr is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def show(table: pa.Table) -> None:
    """Print an Arrow table with aligned columns: numbers to the right, nulls empty."""
    import pyarrow as pa

    numeric = [pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in table.schema.types]
    columns = [[name, *map(_cell, table[name].to_pylist())] for name in table.column_names]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        cells = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        typer.echo("  ".join(cells).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
