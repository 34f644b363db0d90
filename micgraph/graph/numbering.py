"""The events of a log with numbers instead of ids, in DuckDB, and parts of them that are whole users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from micgraph.graph import ingest
from micgraph.graph.events import Log
from micgraph.graph.watched import watched
from micgraph.ids import IdMap
from micgraph.schema import ITEM_ID, ORDINAL, SESSION_ID, USER_ID, InputError

if TYPE_CHECKING:
    import pyarrow as pa

MICROS = 1_000_000

USERS = "SELECT user_id, count(*) AS events FROM {events} GROUP BY user_id"
CLICKED = "SELECT DISTINCT item_id FROM {events}"
CATALOGUE = "SELECT item_id FROM {events} UNION SELECT item_id FROM {items}"
NUMBERED = (
    "SELECT u.n AS user_index, i.n AS item_index, e.timestamp AS micros, e.ordinal{session} FROM {events} AS e "
    "JOIN {users} AS u ON e.user_id = u.user_id JOIN {items} AS i ON e.item_id = i.item_id"
)


@dataclass(frozen=True)
class Numbered:
    """Events with the numbers of their users and items, in a table.

    Attributes:
        log: whose events they are.
        table: its columns are ``user_index, item_index, micros, ordinal`` and, where the log has it, ``session_id``.
        users, items: external ids, numbered in their order.
        indptr: int64 [n_users + 1], where each user's events begin, ordered by user.
        epoch: the second of the first event.
        fractions: whether any time has a fraction of a second.
        ordinals: whether any ordinal is not 0.
        given: whether ``session_id`` is what the log says, and not what an engine made of it.
    """

    log: Log
    table: str
    users: IdMap
    items: IdMap
    indptr: NDArray[np.int64]
    epoch: int
    fractions: bool
    ordinals: bool
    given: bool

    def parts(self, rows: int) -> Iterator[pa.Table]:
        """The events in parts of consecutive users with at most ``rows`` events each (a user that has more is a part):
        ``user_index, item_index, micros``, ``session_id`` where the log has it and ``ordinal`` where any is not 0,
        ordered by (user, micros, ordinal, item)."""
        given = [SESSION_ID] if SESSION_ID in ingest.types(self.log.con, self.table) else []
        given += [ORDINAL] if self.ordinals else []
        query = (
            f"SELECT {', '.join(['user_index', 'item_index', 'micros', *given])} FROM {self.table} "
            "WHERE user_index >= $first AND user_index < $last ORDER BY user_index, micros, ordinal, item_index"
        )
        for first, last in ranges(self.indptr, rows):
            yield self.log.con.sql(query, params={"first": first, "last": last}).to_arrow_table()


@contextmanager
def numbered(log: Log, keep_unclicked: bool = False) -> Iterator[Numbered]:
    """Number the events of a log; their table is there as long as the context is.

    Args:
        keep_unclicked: items of the table of items are numbered as well.

    Raises:
        InputError: no event, or times that span more than 68 years.
    """
    user, item, table = (ingest.fresh(name) for name in ("user_numbers", "item_numbers", "numbered"))
    epoch = first_second(log)
    session = f", e.{SESSION_ID}" if SESSION_ID in log.columns else ""
    try:
        number(log, user, USER_ID, USERS, log.table)
        number(log, item, ITEM_ID, CATALOGUE if keep_unclicked else CLICKED, log.table)
        with watched(log.con, "numbering events"):
            query = NUMBERED.format(session=session, events=log.table, users=user, items=item)
            log.con.execute(f"CREATE TABLE {table} AS {query}")
        yield described(log, table, user, item, epoch, SESSION_ID in log.columns)
    finally:
        for name in (user, item, table):
            log.con.execute(f"DROP TABLE IF EXISTS {name}")


def described(log: Log, table: str, user: str, item: str, epoch: int, given: bool) -> Numbered:
    """The record of a table of numbered events, from the tables of the numbers of users and items."""
    users, items = (log.sql(f"SELECT * FROM {name} ORDER BY n") for name in (user, item))
    indptr = np.concatenate([[0], np.cumsum(users["events"].to_numpy(), dtype=np.int64)])
    user_ids, item_ids = (IdMap(ids.combine_chunks()) for ids in (users[USER_ID], items[ITEM_ID]))
    return Numbered(log, table, user_ids, item_ids, indptr, epoch, *_beyond(log), given)


def first_second(log: Log) -> int:
    """The second of the first event.

    Raises:
        InputError: no event, or times that span more than 68 years.
    """
    count, *ends = log.con.execute(f"SELECT count(*), min(timestamp), max(timestamp) FROM {log.table}").fetchall()[0]
    if not count:
        got = f"none ({', '.join(f'{n:,} {reason}' for reason, n in log.refused.items()) or 'an empty source'})"
        raise InputError("log", "at least one event", got, "check the source, positive_events and the split")
    first, last = (int(micros) // MICROS for micros in ends)
    check_span(first, last)
    return first


def check_span(first: int, last: int) -> None:
    """Refuse seconds that are too far apart for int32.

    Raises:
        InputError: by more than 68 years.
    """
    if last - first >= 2**31:
        raise InputError("timestamp", "times within 68 years", "a longer span", "check time_unit, or filter the log")


def _beyond(log: Log) -> tuple[bool, bool]:
    """Whether the log's times have fractions of seconds, and whether it has ordinals: what a graph's tensors lack."""
    query = f"SELECT bool_or(timestamp % {MICROS} <> 0), bool_or({ORDINAL} <> 0) FROM {log.table}"
    fractions, ordinals = log.con.execute(query).fetchall()[0]
    return bool(fractions), bool(ordinals)


def number(log: Log, table: str, key: str, query: str, events: str) -> None:
    """Make a table of the query's rows, with their number ``n`` in the order of the ids.

    Args:
        key: ``user_id`` or ``item_id``.
        query: with the placeholders ``{events}`` and ``{items}``.
        events: a table that has the ids of the events.
    """
    place = f"CAST(row_number() OVER (ORDER BY {key}) - 1 AS INTEGER) AS n"
    rows = query.format(events=events, items=log.items)
    log.con.execute(f"CREATE TABLE {table} AS SELECT *, {place} FROM ({rows})")


def ranges(indptr: NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of nodes with at most ``rows`` edges each, or of one node that has more."""
    first, n_users = 0, len(indptr) - 1
    while first < n_users:
        last = max(int(np.searchsorted(indptr, indptr[first] + rows, side="right")) - 1, first + 1)
        yield first, last
        first = last
