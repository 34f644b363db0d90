"""The events of users who clicked again, old and new ones together, as a log of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.graph import column_types, ingest
from micgraph.graph.duplicates import first_of_each_second
from micgraph.graph.events import Log
from micgraph.graph.numbering import MICROS
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import spans
from micgraph.ids import IdMap
from micgraph.schema import CLICKS, CONTAINS, HAS, ITEM_ID, ORDINAL, SESSION_ID, TIMESTAMP, USER_ID, SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Reopened:
    """All events of the users of a new log.

    Attributes:
        log: its ids are numbers: users' own, and items' places in the order of their external ids, so that ties fall
            as they do between the ids.
        duplicates: events of the same user, item and second as another one, which are not in it.
    """

    log: Log
    duplicates: int


@contextmanager
def reopened(graph: RecGraph, log: Log, users: IdMap, items: IdMap, place: Ints) -> Iterator[Reopened]:
    """Put the events of a log and the old clicks of its users into a table, there as long as the context is.

    Args:
        graph: holds the old clicks.
        users, items: the graph's ids and the log's.
        place: int64 [n items], each item's place in the order of the ids.

    Raises:
        SchemaError: the log's session ids are of another type than the graph's.
    """
    new = _new_events(log, users, items, place)
    people = np.unique(new[USER_ID].to_numpy())
    tables = {"old": _old_events(graph, torch.from_numpy(people[people < graph.n_users]), place), "new": new}
    names = {name: ingest.fresh(name) for name in tables}
    staged, table = ingest.fresh("staged"), None
    try:
        for name, rows in tables.items():
            log.con.register(names[name], rows)
        _check_sessions(log, names)
        both = f"FROM {names['old']} UNION ALL BY NAME FROM {names['new']}"
        log.con.execute(f"CREATE TABLE {staged} AS SELECT *, CAST(NULL AS VARCHAR) AS reason FROM ({both})")
        table = first_of_each_second(log.con, staged)
        merged = Log(log.con, table)
        yield Reopened(merged, sum(map(len, tables.values())) - len(merged))
    finally:
        for name in names.values():
            log.con.unregister(name)
        for made in (staged, table):
            if made is not None:
                log.con.execute(f"DROP TABLE IF EXISTS {made}")


def _new_events(log: Log, users: IdMap, items: IdMap, place: Ints) -> pa.Table:
    import pyarrow as pa

    columns = [name for name in (USER_ID, ITEM_ID, TIMESTAMP, ORDINAL, SESSION_ID) if name in log.columns]
    found = log.sql(f"SELECT {', '.join(columns)} FROM {{events}}")
    numbers = {USER_ID: users.index(found[USER_ID]), ITEM_ID: place[items.index(found[ITEM_ID])]}
    table = pa.table({name: numbers.get(name, found[name]) for name in columns})
    given = SESSION_ID in columns and table[SESSION_ID].null_count < len(table)
    return table if given or SESSION_ID not in columns else table.drop_columns(SESSION_ID)


def _old_events(graph: RecGraph, people: Tensor, place: Ints) -> pa.Table:
    import pyarrow as pa

    clicks, residue = graph.relations[CLICKS], graph.residue
    assert clicks.time is not None and residue is not None
    owner, edge = spans(clicks.indptr[people], clicks.degree(people))
    micros = (clicks.time[edge].long() + graph.epoch) * MICROS
    columns = {
        USER_ID: people[owner].numpy(),
        ITEM_ID: place[clicks.col[edge].numpy()],
        TIMESTAMP: (micros if residue.micros is None else micros + residue.micros[edge]).numpy(),
        ORDINAL: (torch.zeros_like(edge) if residue.ordinal is None else residue.ordinal[edge]).numpy(),
    }
    if residue.sessions is None:
        return pa.table(columns)
    return pa.table(columns | {SESSION_ID: residue.sessions.take(_sessions(graph, people, owner, edge))})


def _sessions(graph: RecGraph, people: Tensor, owner: Tensor, edge: Tensor) -> Ints:
    """The session of each click of some users: a user has an item only once a second, so item and second tell it.

    Args:
        people: int64 [B], the users.
        owner, edge: int64 [E], whose clicks these are among them, and their offsets.
    """
    clicks, has, contains = (graph.relations[name] for name in (CLICKS, HAS, CONTAINS))
    assert clicks.time is not None and contains.time is not None
    who, at = spans(has.indptr[people], has.degree(people))
    session = has.col[at].long()
    which, inner = spans(contains.indptr[session], contains.degree(session))
    ours = np.lexsort((clicks.time[edge].numpy(), clicks.col[edge].numpy(), owner.numpy()))
    theirs = np.lexsort((contains.time[inner].numpy(), contains.col[inner].numpy(), who[which].numpy()))
    found = np.empty(len(ours), np.int64)
    found[ours] = session[which].numpy()[theirs]
    return found


def _check_sessions(log: Log, names: dict[str, str]) -> None:
    kinds = [ingest.types(log.con, name).get(SESSION_ID) for name in (names["old"], names["new"])]
    old, new = (None if kind is None else column_types.family(kind) for kind in kinds)
    if old and new and old != new:
        raise SchemaError(f"log.{SESSION_ID}", f"{old} ids as in the graph", f"{new} ids", "convert the column")
