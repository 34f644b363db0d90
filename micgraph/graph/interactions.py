"""Clicks and sessions, written part by part: ``clicks``, ``has`` and ``contains``, and what they leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from micgraph.graph import sessions
from micgraph.graph.buffers import Buffers
from micgraph.graph.numbering import MICROS, Numbered
from micgraph.graph.relation import Relation
from micgraph.graph.residue import Residue
from micgraph.progress import progress_bar
from micgraph.schema import CLICKS, CONTAINS, HAS, ORDINAL, SESSION_ID

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[Any]

_TENSORS = tuple(f"{name}.{part}" for name in (CLICKS, HAS, CONTAINS) for part in ("col", "time"))


_MICROS, _ORDINAL, _SESSIONS = "residue.micros", "residue.ordinal", "residue.sessions"


def interactions(
    events: Numbered, rows: int, gap: int, span: int, buffers: Buffers
) -> tuple[dict[str, Relation], Residue]:
    """The relations of users, sessions and items, and what the events have beyond them.

    Users are whole in a part, and parts come in the order of users, so what is written one after the other is the rows
    in their order.

    Args:
        events: the numbered events.
        rows: events that are in memory at a time.
        gap, span: microseconds, see :func:`micgraph.graph.sessions.cut`.
        buffers: where edges go.
    """
    of_user = np.zeros(len(events.users), np.int64)
    sizes: list[Ints] = [np.zeros(0, np.int32)]
    total = 0
    with progress_bar(total=int(events.indptr[-1]), desc="clicks and sessions", unit_scale=True) as bar:
        for part in events.parts(rows):
            size = _write(part, events, total, (gap, span), of_user, buffers)
            sizes.append(size)
            total += len(size)
            bar.update(len(part))
    edges = {name: buffers.finish(name) for name in _TENSORS}
    indptr = {CLICKS: events.indptr, HAS: _offsets(of_user), CONTAINS: _offsets(np.concatenate(sizes))}
    n_cols = {CLICKS: len(events.items), HAS: total, CONTAINS: len(events.items)}
    relations = {
        name: Relation(torch.from_numpy(indptr[name]), edges[f"{name}.col"], n_cols[name], time=edges[f"{name}.time"])
        for name in (CLICKS, HAS, CONTAINS)
    }
    return relations, _residue(events, buffers)


def _write(
    part: pa.Table, events: Numbered, n_before: int, cuts: tuple[int, int], of_user: Ints, buffers: Buffers
) -> Ints:
    """Write a part's edges, count its sessions by user into ``of_user``; returns the sizes of the sessions."""
    user, item, micros = (part[name].to_numpy() for name in ("user_index", "item_index", "micros"))
    time = (micros // MICROS - events.epoch).astype(np.int32)
    given = part[SESSION_ID] if SESSION_ID in part.column_names else None
    session = sessions.assign(user.astype(np.int64), micros, given, *cuts)
    order = np.argsort(session, kind="stable")
    size = np.bincount(session)
    first = order[np.cumsum(size) - size]
    of_user += np.bincount(user[first], minlength=len(of_user))
    parts = {
        CLICKS: (item, time),
        HAS: (np.arange(n_before, n_before + len(size), dtype=np.int32), time[first]),
        CONTAINS: (item[order], time[order]),
    }
    for name, (col, when) in parts.items():
        buffers.append(f"{name}.col", col)
        buffers.append(f"{name}.time", when)
    if events.fractions:
        buffers.append(_MICROS, (micros % MICROS).astype(np.int32))
    if events.ordinals:
        buffers.append(_ORDINAL, part[ORDINAL].to_numpy())
    if given is not None and events.given:
        buffers.append_ids(_SESSIONS, given.take(first).combine_chunks())
    return size.astype(np.int32)


def _residue(events: Numbered, buffers: Buffers) -> Residue:
    given = buffers.finish_ids(_SESSIONS) if events.given else None
    return Residue(
        micros=buffers.finish(_MICROS) if events.fractions else None,
        ordinal=buffers.finish(_ORDINAL) if events.ordinals else None,
        sessions=given if given is not None and given.null_count < len(given) else None,
    )


def _offsets(size: Ints) -> Ints:
    return np.concatenate([[0], np.cumsum(size, dtype=np.int64)])
