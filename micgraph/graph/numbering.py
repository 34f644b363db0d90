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

_USERS = "SELECT user_id, count(*) AS events FROM {events} GROUP BY user_id"
_CLICKED = "SELECT DISTINCT item_id FROM {events}"
_CATALOGUE = "SELECT item_id FROM {events} UNION SELECT item_id FROM {items}"


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
    """

    log: Log
    table: str
    users: IdMap
    items: IdMap
    indptr: NDArray[np.int64]
    epoch: int
    fractions: bool
    ordinals: bool

    def parts(self, rows: int) -> Iterator[pa.Table]:
        """The events in parts of consecutive users with at most ``rows`` events each (a user that has more is a part):
        ``user_index, item_index, micros``, ``session_id`` where the log has it and ``ordinal`` where any is not 0,
        ordered by (user, micros, ordinal, item)."""
        given = [SESSION_ID] if SESSION_ID in self.log.columns else []
        given += [ORDINAL] if self.ordinals else []
        query = (
            f"SELECT {', '.join(['user_index', 'item_index', 'micros', *given])} FROM {self.table} "
            "WHERE user_index >= $first AND user_index < $last ORDER BY user_index, micros, ordinal, item_index"
        )
        for first, last in _ranges(self.indptr, rows):
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
    epoch = _epoch(log)
    session = f", e.{SESSION_ID}" if SESSION_ID in log.columns else ""
    try:
        _number(log, user, USER_ID, _USERS)
        _number(log, item, ITEM_ID, _CATALOGUE if keep_unclicked else _CLICKED)
        with watched(log.con, "numbering events"):
            log.con.execute(
                f"CREATE TABLE {table} AS SELECT u.n AS user_index, i.n AS item_index, e.timestamp AS micros, e.ordinal"
                f"{session} FROM {log.table} AS e JOIN {user} AS u ON e.user_id = u.user_id "
                f"JOIN {item} AS i ON e.item_id = i.item_id"
            )
        users, items = (log.sql(f"SELECT * FROM {name} ORDER BY n") for name in (user, item))
        indptr = np.concatenate([[0], np.cumsum(users["events"].to_numpy(), dtype=np.int64)])
        user_ids, item_ids = (IdMap(ids.combine_chunks()) for ids in (users[USER_ID], items[ITEM_ID]))
        yield Numbered(log, table, user_ids, item_ids, indptr, epoch, *_beyond(log))
    finally:
        for name in (user, item, table):
            log.con.execute(f"DROP TABLE IF EXISTS {name}")


def _epoch(log: Log) -> int:
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


def _number(log: Log, table: str, key: str, query: str) -> None:
    """Make a table of the query's rows, numbered in the order of the ids."""
    place = f"CAST(row_number() OVER (ORDER BY {key}) - 1 AS INTEGER) AS n"
    rows = query.format(events=log.table, items=log.items)
    log.con.execute(f"CREATE TABLE {table} AS SELECT *, {place} FROM ({rows})")


def _ranges(indptr: NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    first, n_users = 0, len(indptr) - 1
    while first < n_users:
        last = max(int(np.searchsorted(indptr, indptr[first] + rows, side="right")) - 1, first + 1)
        yield first, last
        first = last
