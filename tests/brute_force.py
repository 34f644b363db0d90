"""The relations of a graph from plain loops over a random small log: what every engine and every limit must equal."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import torch
from hypothesis import strategies as st

import micgraph as mg
from micgraph.graph.relation import Relation

HOUR, START = 3_600, 1_700_000_000
Event = tuple[str, int, int, int, int | None]  # user, item, quarters of a second since START, ordinal, session

event = st.tuples(
    st.sampled_from(["ann", "bob", "Cid", "dora"]),
    st.sampled_from([7, 10, 2, 33, 5]),
    st.one_of(st.integers(0, 12).map(lambda n: n * 2 * HOUR), st.integers(0, 20 * HOUR)),
    st.integers(0, 2),
    st.sampled_from([None, 1, 2]),
)
Relations = dict[str, list[Any]]


def table(events: list[Event]) -> pa.Table:
    user, item, quarter, ordinal, session = zip(*events, strict=True)
    columns: dict[str, Any] = {"user_id": user, "item_id": item, "ordinal": ordinal}
    columns["timestamp"] = [START + q / 4 for q in quarter]
    columns["session_id"] = pa.array(session, pa.int64())
    return pa.table(columns)


def oracle(events: list[Event], top_k: int | None, max_pairs: int | None) -> Relations:
    """Rows of (column, time or count) of each relation, from plain loops."""
    first: dict[tuple[str, int, int], Event] = {}
    for e in sorted(events, key=lambda e: (e[2], e[3], e[4] is None, e[4])):
        first.setdefault((e[0], e[1], e[2] // 4), e)
    ordered = sorted(first.values(), key=lambda e: (e[2], e[3], e[1]))
    users, items = sorted({e[0] for e in events}), sorted({e[1] for e in events})
    epoch = min(e[2] // 4 for e in ordered)
    sessions: list[list[Event]] = []
    owner: list[str] = []
    for user in users:
        mine: list[tuple[int | None, list[Event]]] = []
        for e in (e for e in ordered if e[0] == user):
            latest = [s for number, s in mine if number == e[4]][-1:]
            if latest and (e[4] is not None or e[2] - latest[0][0][2] <= 4 * HOUR):
                latest[0].append(e)
            else:
                mine.append((e[4], [e]))
        sessions += [s for _, s in mine]
        owner += [user] * len(mine)
    counts = pairs([[items.index(e[1]) for e in s] for s in sessions], max_pairs)
    co_occurs = [sorted((-n, b) for (a, b), n in counts.items() if a == i)[:top_k] for i in range(len(items))]

    def seen(e: Event) -> tuple[int, int]:
        return items.index(e[1]), e[2] // 4 - epoch

    return {
        "clicks": [[seen(e) for e in ordered if e[0] == u] for u in users],
        "has": [[(i, seen(s[0])[1]) for i, s in enumerate(sessions) if owner[i] == u] for u in users],
        "contains": [[seen(e) for e in s] for s in sessions],
        "co_occurs": [sorted((b, -n) for n, b in row) for row in co_occurs],
    }


def pairs(sessions: list[list[int]], max_pairs: int | None) -> Counter[tuple[int, int]]:
    counts: Counter[tuple[int, int]] = Counter()
    for session in sessions:
        items = list(dict.fromkeys(session))
        for distance in range(len(items), -1, -1):
            near = [(a, b) for i, a in enumerate(items) for j, b in enumerate(items) if 0 < abs(i - j) <= distance]
            if max_pairs is None or len(near) <= max_pairs:
                counts.update(near)
                break
    return counts


def rows(rel: Relation) -> list[list[tuple[int, int]]]:
    values = rel.weight() if rel.time is None else rel.time
    flat, bounds = list(zip(rel.col.tolist(), values.tolist(), strict=True)), rel.indptr.tolist()
    return [flat[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def tensors(graph: mg.RecGraph) -> dict[str, tuple[torch.dtype, bytes]]:
    return {
        f"{name}.{part}": (values.dtype, values.numpy().tobytes())
        for name, rel in graph.relations.items()
        for part, values in rel.tensors().items()
    }
