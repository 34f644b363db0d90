"""The rows of lists are those that plain loops write."""

from __future__ import annotations

import uuid
from typing import Any

import pyarrow as pa
import pytest
import torch

from micgraph.ids import IdMap
from micgraph.retrieval.frames import recommendations
from micgraph.retrieval.fusion import Fused, Lists
from micgraph.retrieval.pool import Trigger

B, K = 3, 7


def lists(seed: int) -> Lists:
    """Of the first user everything was brought, of the others a part, and of the last one places are left empty."""
    g = torch.Generator().manual_seed(seed)
    items = torch.stack([torch.randperm(9, generator=g)[:K] for _ in range(B)])
    brought = items.clone()
    brought[1, 4:] = brought[2, 1:] = items[2, 5:] = -1
    source = torch.randint(3, (B, K), generator=g)
    node = torch.where(source > 0, torch.randint(4, (B, K), generator=g), -1)
    single, wide = (torch.rand(B, K, generator=g) for _ in range(2)), torch.rand(B, 3, K, generator=g)
    count, held = torch.randint(5, (B, 3, K), generator=g), torch.rand(B, 3, K, generator=g) < 0.5
    nothing = torch.zeros(B, K)
    fused = Fused(
        brought, *single, count, wide, held, Trigger(source, node, nothing), nothing, nothing, count, count[..., 0]
    )
    return Lists(fused, items, torch.tensor([False, True, True]))


def written(given: Lists, ids: list[Any], users: list[Any], items: list[Any]) -> list[dict[str, Any]]:
    """By loops over single numbers."""
    rows, fused = [], given.fused
    for b in range(B):
        for p in range(K):
            if given.items[b, p] < 0:
                continue
            row = {"user_id": ids[b], "item_id": items[int(given.items[b, p])], "rank": p + 1}
            there = int(fused.items[b, p]) >= 0
            row["score"] = float(fused.score[b, p]) if there else None
            names = [name for c, name in enumerate(("u2i", "u2u", "i2i")) if fused.held[b, c, p]]
            row["channels"] = ",".join(names) if there else "popular"
            row["u2i_score"] = float(fused.basic[b, p]) if there else None
            for c, name in ((1, "u2u"), (2, "i2i")):
                row[f"{name}_score"] = float(fused.weight[b, c, p]) if there else 0.0
                row[f"{name}_count"] = int(fused.count[b, c, p]) if there else 0
            source, node = int(fused.trigger.channel[b, p]), int(fused.trigger.node[b, p])
            trigger = {1: f"user:{users[node]}", 2: f"item:{items[node]}"}.get(source)
            row |= {"trigger": trigger if there else None, "degraded": bool(given.degraded[b])}
            rows.append(row)
    return rows


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "names",
    [
        list(range(100, 109)),
        [f"é{n}" for n in range(9)],
        [uuid.UUID(int=n) for n in range(9)],
    ],
    ids=["integers", "texts", "uuids"],
)
def test_rows_are_those_of_plain_loops(names: list[Any], seed: int) -> None:
    given, ids = lists(seed), IdMap(pa.array(names))
    found = recommendations(given, ids.ids([4, 0, 8]), ids, ids)
    table = pa.table(found)
    kinds = {"rank": "int32", "score": "float", "channels": "string", "u2u_count": "int32", "trigger": "string"}
    assert {name: str(table.schema.field(name).type) for name in kinds} == kinds
    assert table.to_pylist() == written(given, [names[4], names[0], names[8]], names, names)
    assert table.column("trigger").null_count and len(table) == B * K - 2
