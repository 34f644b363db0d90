"""Clicks and sessions of a graph and a later log together; rows of users without new events are copied."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from micgraph.graph.buffers import Buffers
from micgraph.graph.build_config import BuildConfig
from micgraph.graph.events import Log
from micgraph.graph.interactions import interactions
from micgraph.graph.memory import part_rows
from micgraph.graph.numbering import check_span, numbered
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.recount import changed_sessions
from micgraph.graph.relation import Relation
from micgraph.graph.reopened import reopened
from micgraph.graph.residue import Residue
from micgraph.graph.splice import Splice, some_rows
from micgraph.graph.times import duration
from micgraph.ids import IdMap
from micgraph.schema import CLICKS, CONTAINS, HAS, ITEM_ID, USER_ID, SchemaError

Relations = dict[str, Relation]


@dataclass(frozen=True)
class Merged:
    """What clicks make of a graph and a log.

    Attributes:
        users, items: external ids, the graph's first.
        relations: ``clicks``, ``has`` and ``contains``.
        residue: what they leave out; nothing of the feature tables.
        epoch: the second of the first event.
        order: int64 [n_items], items in the order of their ids.
        changed: bool [n_items], items that are new or in a session that is new or another one now.
        duplicates: events that another event of the same user, item and second stands for.
    """

    users: IdMap
    items: IdMap
    relations: Relations
    residue: Residue
    epoch: int
    order: Tensor
    changed: Tensor
    duplicates: int


def merged(graph: RecGraph, log: Log, config: BuildConfig) -> Merged:
    """Merge the events of a log into a graph with its residue.

    Raises:
        InputError: the log has no event, or times would span more than 68 years.
        SchemaError: ids of another type than the graph's.
    """
    assert graph.users is not None and graph.items is not None
    users, items = _extended(graph.users, log, USER_ID), _extended(graph.items, log, ITEM_ID, config.keep_unclicked)
    order, place = items.order(), np.empty(len(items), np.int64)
    place[order] = np.arange(len(order))
    gap, span = duration(config.session_gap), duration(config.session_span)
    with reopened(graph, log, users, items, place) as again, numbered(again.log) as events:
        new, residue = interactions(events, part_rows(config.memory_limit), gap, span, Buffers())
    epoch = min(graph.epoch, events.epoch)
    clicks = new[CLICKS].time
    assert clicks is not None
    check_span(epoch, max(graph.epoch + graph.last_time, events.epoch + int(clicks.max())))
    number = torch.from_numpy(order[events.items.values.to_numpy()])
    new = {
        name: _moved(rel, events.epoch - epoch, None if name == HAS else number, len(items))
        for name, rel in new.items()
    }
    old = {name: _moved(graph.relations[name], graph.epoch - epoch, None, len(items)) for name in new}
    people = torch.from_numpy(events.users.values.to_numpy().copy())
    relations, rest, changed = _spliced(graph, old, new, residue, people, len(users))
    return Merged(users, items, relations, rest, epoch, torch.from_numpy(order), changed, again.duplicates)


def _extended(known: IdMap, log: Log, name: str, catalogue: bool = False) -> IdMap:
    """The ids with those of the log's events, for items with those of the table of items where that is asked for."""
    also = f" UNION SELECT {name} FROM {{items}}" if catalogue and log.items is not None else ""
    try:
        return known.extend(log.sql(f"SELECT DISTINCT {name} FROM {{events}}{also}")[name])
    except SchemaError as error:
        expected = f"ids of the graph's type, {known.values.type}"
        raise SchemaError(f"log.{name}", expected, error.got, "convert the column") from error


def _moved(rel: Relation, seconds: int, number: Tensor | None, n_cols: int) -> Relation:
    """The relation with times since another epoch, and columns in other numbers."""
    assert rel.time is not None
    col = rel.col if number is None else number[rel.col.long()].int()
    return replace(rel, col=col, time=rel.time + seconds if seconds else rel.time, n_cols=n_cols)


def _spliced(
    graph: RecGraph, old: Relations, new: Relations, residue: Residue, people: Tensor, n_users: int
) -> tuple[Relations, Residue, Tensor]:
    """All users' rows: those of ``people`` int64 [B] from ``new``, the others from ``old``."""
    again = torch.zeros(n_users, dtype=torch.bool)
    again[people] = True
    rows = Splice(~again[: graph.n_users], again)
    sessions, edges = rows.edges(old[HAS], new[HAS]), rows.edges(old[CLICKS], new[CLICKS])
    has = rows.relation(old[HAS], new[HAS])
    has = replace(has, col=torch.arange(has.n_edges, dtype=torch.int32), n_cols=has.n_edges)
    clicks, contains = rows.relation(old[CLICKS], new[CLICKS]), sessions.relation(old[CONTAINS], new[CONTAINS])
    before = graph.residue
    assert before is not None
    rest = Residue(
        micros=_joined(edges, before.micros, residue.micros),
        ordinal=_joined(edges, before.ordinal, residue.ordinal),
        sessions=_joined_ids(sessions, before.sessions, residue.sessions),
    )
    return {CLICKS: clicks, HAS: has, CONTAINS: contains}, rest, _changed(graph, old, new, people, sessions)


def _joined(splice: Splice, old: Tensor | None, new: Tensor | None) -> Tensor | None:
    """One number a click, 0 where a side has none."""
    if old is None and new is None:
        return None
    kind = (new if old is None else old).dtype  # type: ignore[union-attr]
    old = torch.zeros(len(splice.stays), dtype=kind) if old is None else old
    return splice.values(old, torch.zeros(int(splice.fresh.sum()), dtype=kind) if new is None else new)


def _joined_ids(splice: Splice, old: Any, new: Any) -> Any:
    """One given id a session, null where a side has none."""
    import pyarrow as pa

    if old is None and new is None:
        return None
    kind = old.type if new is None else new.type  # the new events' type holds the old ids as well
    old = pa.chunked_array([pa.nulls(len(splice.stays), kind)]) if old is None else old
    return splice.ids(old, pa.chunked_array([pa.nulls(int(splice.fresh.sum()), kind)]) if new is None else new)


def _changed(graph: RecGraph, old: Relations, new: Relations, people: Tensor, sessions: Splice) -> Tensor:
    """See :class:`Merged`."""
    before = some_rows(old[CONTAINS], torch.nonzero(~sessions.stays).flatten())
    after = new[CONTAINS]
    come = changed_sessions(before, old[HAS].row_index()[~sessions.stays], after, people[new[HAS].row_index()])
    items = torch.zeros(after.n_cols, dtype=torch.bool)
    items[graph.n_items :] = True
    items[after.col[come.repeat_interleave(after.degree())].long()] = True
    return items
