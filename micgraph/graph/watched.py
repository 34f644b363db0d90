"""A progress bar for statements that DuckDB takes long over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import duckdb

from micgraph.progress import progress_bar

DELAY, PAUSE = 1.0, 0.5  # seconds before the bar, and between looks


@contextmanager
def watched(con: duckdb.DuckDBPyConnection, what: str) -> Iterator[None]:
    """Show how far the connection's statement is, from its second second on.

    Args:
        what: the title of the bar.
    """
    done = Event()
    thread = Thread(target=_show, args=(con, what, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show(con: duckdb.DuckDBPyConnection, what: str, done: Event) -> None:
    if done.wait(DELAY):
        return
    with progress_bar(total=100, desc=what, unit="%", delay=0, bar_format="{l_bar}{bar}| {elapsed}<{remaining}") as bar:
        while not done.wait(PAUSE):
            bar.update(max(con.query_progress() - bar.n, 0))  # it is -1 between two statements
