"""What clicks make, by Spark: it numbers, cuts sessions and counts pairs into Parquet files, which are loaded in parts.

The numbers of users and items are given by DuckDB, from the distinct ids that Spark has found: every id is in this
machine's memory anyway, and both engines then have the same order of ids, be they text or numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from micgraph.graph import ingest
from micgraph.graph.baskets import reaches
from micgraph.graph.buffers import Buffers
from micgraph.graph.events import Log
from micgraph.graph.interactions import interactions
from micgraph.graph.numbering import (
    CATALOGUE,
    CLICKED,
    NUMBERED,
    USERS,
    Numbered,
    described,
    first_second,
    number,
)
from micgraph.graph.relation import Relation
from micgraph.graph.residue import Residue
from micgraph.graph.scratch import Scratch
from micgraph.graph.spark.counts import load_counts
from micgraph.graph.spark.session import Engine, connected, table
from micgraph.graph.spark.statements import SIZES, pairs_sql, sessions_sql
from micgraph.schema import CO_OCCURS, ITEM_ID, SESSION_ID, USER_ID, InputError

STEPS = 4  # users, items, clicks, pairs
USERS_FOUND = "SELECT user_id, events FROM {events}"


@dataclass(frozen=True)
class Rules:
    """How edges are made: what :class:`micgraph.BuildConfig` says, in numbers.

    Attributes:
        gap, span: microseconds, see :func:`micgraph.graph.sessions.cut`.
        keep_unclicked: items of the table of items are numbered as well.
        top_k: of ``co_occurs``, or None.
        max_pairs: of a session, or None.
        rows: edges that are in memory at a time.
    """

    gap: int
    span: int
    keep_unclicked: bool
    top_k: int | None
    max_pairs: int | None
    rows: int


def edges(
    log: Log, rules: Rules, master: str | None, parent: Path, buffers: Buffers
) -> tuple[Numbered, dict[str, Relation], NDArray[np.bool_], dict[str, int], Residue | None]:
    """Make the edges of a log with Spark.

    Args:
        log: its events are written to Parquet first, unless Spark has read it.
        rules: how edges are made.
        master: of Spark, see :func:`micgraph.graph.spark.session.connected`.
        parent: where the folder of the Parquet files is made; it is removed in the end.
        buffers: where edges go.

    Returns:
        Numbers of users and items; ``clicks``, ``has``, ``contains`` and ``co_occurs``; bool [n_items], which items
        have clicks; what was cut of sessions -> how much of it; and the residue, None where the log gives sessions:
        their ids do not come back.

    Raises:
        InputError: no event, times that span more than 68 years, counts above int32, or a folder that is not shared.
    """
    epoch = first_second(log)
    with Scratch(parent, "micgraph-spark") as folder, connected(master, STEPS) as engine:
        with _numbered(engine, log, epoch, rules, folder) as events:
            relations, residue = interactions(events, rules.rows, rules.gap, rules.span, buffers)
        clicked = _clicked(log, folder / "clicks", len(events.items))
        sizes = engine.execute(SIZES.format(clicks=table(folder / "clicks"))).fetchall()
        reach, cuts = reaches(dict(sizes), rules.max_pairs)
        engine.write(pairs_sql(table(folder / "clicks"), reach, rules.top_k), folder / "pairs", "counting pairs")
        relations[CO_OCCURS] = load_counts(log.con, folder / "pairs", len(events.items), rules.rows, buffers)
    return events, relations, clicked, cuts, None if SESSION_ID in log.columns else residue


@contextmanager
def _numbered(engine: Engine, log: Log, epoch: int, rules: Rules, folder: Path) -> Iterator[Numbered]:
    """The numbered events with their sessions, as a view of DuckDB on the files that Spark wrote."""
    user, item, view = (ingest.fresh(name) for name in ("user_numbers", "item_numbers", "numbered"))
    events = table(_event_files(log, folder))
    try:
        _number(engine, log, user, USER_ID, (USERS, USERS_FOUND), events, folder / "users")
        items = CATALOGUE if rules.keep_unclicked else CLICKED
        _number(engine, log, item, ITEM_ID, (CLICKED, items), events, folder / "items")
        session = f", e.{SESSION_ID}" if SESSION_ID in log.columns else f", CAST(NULL AS BIGINT) AS {SESSION_ID}"
        numbers = {"users": table(folder / "users-numbered"), "items": table(folder / "items-numbered")}
        numbered = NUMBERED.format(session=session, events=events, **numbers)
        engine.write(sessions_sql(numbered, rules.gap, rules.span), folder / "clicks", "cutting sessions")
        log.con.execute(f"CREATE VIEW {view} AS SELECT * FROM {ingest.parquet(folder / 'clicks')}")
        found = described(log, view, user, item, epoch, given=False)
        _check_whole(found)
        yield found
    finally:
        log.con.execute(f"DROP VIEW IF EXISTS {view}; DROP TABLE IF EXISTS {user}; DROP TABLE IF EXISTS {item}")


def _number(engine: Engine, log: Log, name: str, key: str, queries: tuple[str, str], events: str, folder: Path) -> None:
    """Make a table of numbered ids, and give them to Spark.

    Args:
        name: of the table.
        queries: what Spark finds in the events, and what DuckDB numbers of that.
        events: as Spark reads them.
        folder: what Spark finds; the numbers are beside it.
    """
    in_spark, in_duckdb = queries
    engine.write(in_spark.format(events=events), folder, f"finding {folder.name}")
    kind = ingest.types(log.con, log.table)[key]
    found = f"(SELECT * REPLACE (CAST({key} AS {kind}) AS {key}) FROM {ingest.parquet(folder)})"
    number(log, name, key, in_duckdb, found)
    _copy(log, f"SELECT {_plain(key, kind)}, n FROM {name}", folder.with_name(f"{folder.name}-numbered"))


def _check_whole(events: Numbered) -> None:
    """Refuse numbered events of which some were lost between two stages."""
    expected, found = int(events.indptr[-1]), len(Log(events.log.con, events.table))
    if found != expected:
        remedy = "let out= and TMPDIR be on storage that is mounted under one path everywhere"
        raise InputError("engine", f"{expected:,} numbered events from Spark", f"{found:,}", remedy)


def _event_files(log: Log, folder: Path) -> Path:
    """The events as Parquet files: those that Spark wrote when it read the log, or new ones."""
    if log.shards is not None:
        return log.shards
    types = ingest.types(log.con, log.table)
    _copy(
        log, f"SELECT {', '.join(_plain(name, types[name]) for name in log.columns)} FROM {log.table}", folder / "log"
    )
    return folder / "log"


def _plain(column: str, kind: str) -> str:
    """A column as Spark reads it: it knows no UUIDs, whose order is that of their text."""
    return f"CAST({column} AS VARCHAR) AS {column}" if kind == "UUID" else column


def _copy(log: Log, query: str, folder: Path) -> None:
    log.con.execute(f"COPY ({query}) TO {ingest.literal(str(folder))} (FORMAT parquet, PER_THREAD_OUTPUT true)")


def _clicked(log: Log, clicks: Path, n_items: int) -> NDArray[np.bool_]:
    found = log.sql(f"SELECT DISTINCT item_index FROM {ingest.parquet(clicks)}")["item_index"].to_numpy()
    clicked = np.zeros(n_items, bool)
    clicked[found] = True
    return clicked
