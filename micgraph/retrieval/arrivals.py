"""New items in what is served, from their rows: vectors by the item tower, places in the indexes, neighbours."""

from __future__ import annotations

import pyarrow as pa
import torch
from torch import Tensor

from micgraph.graph.newcomers import with_new_items
from micgraph.graph.recgraph import RecGraph
from micgraph.knn import NeighborTable
from micgraph.retrieval.neighbor_tables import alone, entered, linked
from micgraph.retrieval.retriever import Retriever
from micgraph.sampling.context import surroundings
from micgraph.schema import EMBEDDING, SIMILAR


def with_items(retriever: Retriever, table: pa.Table) -> Retriever:
    """A retriever that has more items; the given one stays as it is.

    Args:
        retriever: with its vectors, which are computed where they are not there yet.
        table: see :func:`micgraph.graph.newcomers.with_new_items`.

    Raises:
        SchemaError, InputError: see there.
    """
    graph, n = with_new_items(retriever.graph, table), len(retriever.index)
    fields = {name: one.to(retriever.device) for name, one in graph.item_fields.items()}
    model = retriever.model.with_items(fields, surroundings(graph))
    search, own = model.item_vectors()
    index = retriever.index.extended(search[n:])
    items = torch.cat([retriever.items, own[n:].detach().float()])
    near = _neighbours(retriever, graph, items)
    stored = {"search": index.vectors, "items": items, "users": retriever.users.vectors}
    stored |= {"col": near.col, "score": near.score}
    other = Retriever(model, graph, retriever.config, retriever.learned, stored)
    other.index, other.users = index, retriever.users
    other.added = retriever.added + len(table)
    other.live = None if retriever.live is None else retriever.live.beside(graph)
    return other


def _neighbours(retriever: Retriever, graph: RecGraph, own: Tensor) -> NeighborTable:
    """The neighbours that I2I reads, of all items.

    With ``near`` new items have and are neighbours by the cosine of their own vectors, and with ``similar`` by that of
    their embeddings, where the graph's items are similar by these and the item has one. Otherwise, with ``similar``,
    items that are near by own vectors are neighbours of each other, ``semantic_k`` of each new one. The other tables
    are made of clicks: there new items have neighbours, by their own vectors, but are nobody's.
    """
    table, n, config = retriever.table, len(retriever.table), retriever.config
    new = torch.arange(n, len(own), device=own.device)
    if config.neighbors == "near":
        return entered(table, own, new, config.m3)
    if config.neighbors != SIMILAR:
        return alone(table, own, new)
    k = min(config.m3, int(graph.config.get("semantic_k", config.m3)))
    given = graph.item_fields.get(EMBEDDING)
    if given is None or not _compared(graph):
        return linked(table, own, new, k)
    vectors = given.values.to(own.device)
    has = vectors[new].any(1)
    table = entered(table, vectors, new[has], k, positive=True)
    return linked(table, own, new[~has], k)


def _compared(graph: RecGraph) -> bool:
    """Whether similar items are so by their embeddings."""
    sources = graph.config.get("semantic", "auto")
    return sources == "auto" or EMBEDDING in sources
