"""A small graph made directly from tensors, without a log: what sampling, towers and tasks are tested on."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import torch

from micgraph.graph.fields import Field, Fields
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation, row_cumsum

Rows = list[list[tuple[int, int]]]  # of each user, (time, item) ordered by time


def timed(rows: Rows, n_cols: int) -> Relation:
    flat = [click for row in rows for click in row]
    indptr = torch.tensor(np.cumsum([0] + [len(row) for row in rows]), dtype=torch.int64)
    col = torch.tensor([item for _, item in flat], dtype=torch.int32)
    return Relation(indptr, col, n_cols, time=torch.tensor([time for time, _ in flat], dtype=torch.int32))


def weighted(edges: dict[tuple[int, int], int], n: int, score: bool = False) -> Relation:
    keys = sorted(edges)
    indptr = torch.zeros(n + 1, dtype=torch.int64)
    for row, _ in keys:
        indptr[row + 1 :] += 1
    col = torch.tensor([col for _, col in keys], dtype=torch.int32)
    if score:
        return Relation(indptr, col, n, score=torch.ones(len(keys), dtype=torch.float16))
    weight = torch.tensor([edges[key] for key in keys], dtype=torch.int64)
    return Relation(indptr, col, n, cum=row_cumsum(indptr, weight))


def pair_counts(rows: Rows, span: int = 10) -> dict[tuple[int, int], int]:
    """How many (user, stretch of ``span`` seconds) hold both items."""
    counts: dict[tuple[int, int], int] = defaultdict(int)
    for row in rows:
        stretches: dict[int, set[int]] = defaultdict(set)
        for time, item in row:
            stretches[time // span].add(item)
        for items in stretches.values():
            for a in items:
                for b in items:
                    if a != b:
                        counts[a, b] += 1
    return dict(counts)


def multi(name: str, lists: list[list[int]], size: int) -> Field:
    offsets = torch.tensor(np.cumsum([0] + [len(codes) for codes in lists]), dtype=torch.int64)
    return Field(name, "multi", size, torch.tensor([c for codes in lists for c in codes], dtype=torch.int32), offsets)


def item_fields(n: int) -> Fields:
    """One field of each kind; every fifth item has no category and every fourth no tags."""
    index = torch.arange(n)
    category = torch.where(index % 5 == 4, 0, index % 3 + 1).to(torch.int32)
    tags = [[] if i % 4 == 3 else [i % 3 + 1, i % 5 + 1] for i in range(n)]
    generator = torch.Generator().manual_seed(0)
    fields = [
        Field("item_id", "categorical", n + 1, (index + 1).to(torch.int32)),
        Field("category", "categorical", 4, category),
        multi("tags", tags, 6),
        Field("year", "dense", 1, torch.randn(n, 1, generator=generator)),
        Field("embedding", "embedding", 3, torch.randn(n, 3, generator=generator)),
    ]
    return {field.name: field for field in fields}


def user_fields(n: int) -> Fields:
    index = torch.arange(n)
    fields = [
        Field("user_id", "categorical", n + 1, (index + 1).to(torch.int32)),
        Field("country", "categorical", 3, (index % 3).to(torch.int32)),
        Field("age", "dense", 1, (index % 4)[:, None] - 1.5),
    ]
    return {field.name: field for field in fields}


def toy_graph(rows: Rows, n_items: int) -> RecGraph:
    fields = item_fields(n_items)
    category = fields["category"].first().tolist()
    alike = {
        (a, b): 1
        for a in range(n_items)
        for b in range(n_items)
        if a != b and category[a] == category[b] and category[a]
    }
    relations = {
        "clicks": timed(rows, n_items),
        "co_occurs": weighted(pair_counts(rows), n_items),
        "similar": weighted(alike, n_items, score=True),
    }
    return RecGraph(relations, fields, user_fields(len(rows)))


def with_sessions(graph: RecGraph, rows: Rows, span: int = 10) -> RecGraph:
    """The same graph with ``has`` and ``contains``: each stretch of ``span`` seconds of a user is a session."""
    contains: Rows = []
    owned: dict[tuple[int, int], int] = {}
    for user, row in enumerate(rows):
        stretches: Rows = []
        for time, item in row:
            if not stretches or stretches[-1][0][0] // span != time // span:
                stretches.append([])
                owned[user, len(contains) + len(stretches) - 1] = 1
            stretches[-1].append((time, item))
        contains += stretches
    has = weighted(owned, max(len(rows), len(contains)))
    has = replace(has, indptr=has.indptr[: len(rows) + 1], n_cols=len(contains), cum=None)
    return replace(
        graph, relations={**graph.relations, "has": has, "contains": timed(contains, graph.n_items)}
    ).validate()


def random_rows(n_users: int = 9, n_items: int = 14, most: int = 12, seed: int = 0) -> Rows:
    """Clicks with many ties in time; the first user has none, the second a single one."""
    random = np.random.default_rng(seed)
    lengths = [0, 1, *random.integers(2, most + 1, n_users - 2)]
    return [
        [
            (int(t), int(i))
            for t, i in zip(np.sort(random.integers(0, 40, k)), random.integers(0, n_items, k), strict=True)
        ]
        for k in lengths
    ]
