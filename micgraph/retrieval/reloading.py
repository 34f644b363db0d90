"""Another version in place of the one that is served: made ready beside it, with the items that were added to it."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from micgraph.graph.newcomers import last_rows
from micgraph.retrieval.arrivals import with_items
from micgraph.retrieval.asking import graph_ids
from micgraph.retrieval.retriever import Retriever
from micgraph.retrieval.saving import ModelLoader, load
from micgraph.schema import ITEM_ID, InputError

if TYPE_CHECKING:
    from micgraph.retrieval.served import Served


def ready(version: Served | str | Path, load_model: ModelLoader | None) -> Retriever:
    """A retriever of another version with all that requests read already made; it has no store yet.

    Raises:
        ArtifactError: nothing that can be loaded there.
        InputError: no version.
    """
    if isinstance(version, str | Path):
        found = load(version, load_model)
    elif hasattr(version, "retriever"):
        found = copy(version.retriever)
    else:
        remedy = "pass a directory that Recommender.save or micgraph refresh wrote"
        raise InputError("version", "a saved recommender or a Recommender", f"a {type(version).__name__}", remedy)
    found.live = None
    found.tensors()
    _ = found.blender
    return found


def succeeding(now: Retriever, then: Retriever) -> Retriever:
    """``then`` in the place of ``now``: with its store, and with those added items that it does not know.

    Raises:
        InputError: ids of another kind, or a graph without times where there is a store.
        SchemaError: a row of an added item does not fit the fields.
    """
    for name, had, has in zip(("users", "items"), graph_ids(now.graph), graph_ids(then.graph), strict=True):
        if had.kind != has.kind:
            remedy = "open a new Recommender for another catalogue"
            raise InputError("version", f"{name} with {had.describe()}", has.describe(), remedy)
    then = with_missing(then, last_rows(now.graph, now.added))
    then.live = None if now.live is None else now.live.beside(then.graph)
    return then


def with_missing(retriever: Retriever, rows: pa.Table) -> Retriever:
    """A retriever that also has the items of these rows; those that it knows stay as they are."""
    missing = np.asarray(graph_ids(retriever.graph)[1].index(rows[ITEM_ID]) < 0)
    return with_items(retriever, rows.filter(pa.array(missing))) if missing.any() else retriever
