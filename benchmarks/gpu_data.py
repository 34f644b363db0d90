"""What gpu.py measures on: graphs that are carried to the bare machine, and one that is generated there."""

from __future__ import annotations

from pathlib import Path

import torch

from micgraph.graph.fields import Field
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation, row_cumsum
from micgraph.schema import CLICKS, CO_OCCURS, SIMILAR

LIMIT = 60_000_000
"""Bytes that may be carried."""
TOP_K = 50
NEIGHBOURS = 20
FIELDS = {"item": ("item_id", "category", "tags"), "user": ("user_id", "gender", "age", "occupation")}


def prepare(folder: Path, ml1m: str, globo: str | None) -> None:
    """Build the graphs of published logs and save what training reads of them: no ids, sessions or texts.

    Raises:
        SystemExit: they are larger than :data:`LIMIT`.
    """
    import micgraph as mg
    from micgraph.datasets import globo as read_globo
    from micgraph.datasets import movielens_1m

    logs = {"ml1m": movielens_1m(ml1m)} | ({} if globo is None else {"globo": read_globo(globo)})
    for name, log in logs.items():
        graph = mg.build(log, {"co_occurs_top_k": TOP_K if name == "ml1m" else NEIGHBOURS})
        kept = {
            relation: graph.relations[relation]
            for relation in (CLICKS, CO_OCCURS, SIMILAR)
            if relation in graph.relations
        }
        fields = [{f: given[f] for f in FIELDS[side] if f in given} for side, given in _sides(graph).items()]
        RecGraph(kept, fields[0], fields[1]).save(folder / name)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{', '.join(logs)}: {size / 1e6:.1f} MB in {folder}")
    if size > LIMIT:
        raise SystemExit(f"more than {LIMIT / 1e6:.0f} MB: leave --globo out")


def _sides(graph: RecGraph) -> dict[str, dict[str, Field]]:
    return {"item": graph.item_fields, "user": graph.user_fields}


def load(folder: Path | None, clicks: int) -> dict[str, RecGraph]:
    """The graphs that were carried, on the CPU, and one of about so many generated clicks."""
    names = [] if folder is None else [name for name in ("ml1m", "globo") if (folder / name).exists()]
    if folder is not None and not names:
        raise SystemExit(f"nothing in {folder}: fill it with --prepare on a machine that has the data")
    return {name: RecGraph.load(folder / name) for name in names if folder} | {"generated": generated(clicks)}


def generated(n_clicks: int, seed: int = 0) -> RecGraph:
    """Users with 1 to 99 clicks, items by a power law, items with up to 50 co-occurring and 20 similar ones."""
    random = torch.Generator().manual_seed(seed)
    n_users, n_items = max(n_clicks // 50, 2), max(n_clicks // 200, 2 * TOP_K)
    indptr = torch.zeros(n_users + 1, dtype=torch.int64)
    torch.cumsum(torch.randint(1, 100, (n_users,), generator=random), 0, out=indptr[1:])
    total = int(indptr[-1])
    rank = (torch.rand(total, generator=random).square_() * n_items).to(torch.int32)
    item = torch.randperm(n_items, generator=random).to(torch.int32)[rank.long()]
    second = (torch.arange(total) - torch.repeat_interleave(indptr[:-1], indptr.diff())) // 2 * 60  # pairs share one
    clicks = Relation(indptr, item, n_items, time=second.to(torch.int32))
    pairs = _near(n_items, TOP_K, random)
    weight = row_cumsum(pairs.indptr, torch.randint(1, 30, (pairs.n_edges,), generator=random))
    alike = _near(n_items, NEIGHBOURS, random)
    score = torch.ones(alike.n_edges, dtype=torch.float16)
    relations = {
        CLICKS: clicks,
        CO_OCCURS: Relation(pairs.indptr, pairs.col, n_items, cum=weight),
        SIMILAR: Relation(alike.indptr, alike.col, n_items, score=score),
    }
    return RecGraph(relations, _fields("item", n_items, 50), _fields("user", n_users, 20))


def _near(n: int, k: int, random: torch.Generator) -> Relation:
    """``k`` distinct columns a row, ascending."""
    col = torch.randint(1, max(n // (k + 1), 1) + 1, (n, k), generator=random).cumsum(1) - 1
    indptr = torch.arange(0, n * k + 1, k)
    return Relation(indptr, col.flatten().to(torch.int32), n)


def _fields(kind: str, n: int, groups: int) -> dict[str, Field]:
    number = torch.arange(n, dtype=torch.int32)
    one = Field(f"{kind}_id", "categorical", n + 1, number + 1)
    other = Field("category" if kind == "item" else "group", "categorical", groups + 1, number % groups + 1)
    return {field.name: field for field in (one, other)}
