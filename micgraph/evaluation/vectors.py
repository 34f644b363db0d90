"""Uniformity and alignment of a model's vectors (MIC 3.8; Wang & Isola 2020)."""

from __future__ import annotations

import math

import torch

from micgraph import metrics
from micgraph.evaluation.data import EvalData
from micgraph.graph.recgraph import RecGraph
from micgraph.nn.export import BoundModel
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.retriever import Retriever

SAMPLE = 2000
"""Vectors of which uniformity is taken: pairs grow with the square."""


def spaces(model: BoundModel, graph: RecGraph, data: EvalData) -> dict[str, float]:
    """How users and items lie, lower is better: means over the test users' clicks and over pairs.

    Args:
        model: trained.
        graph: what it was trained on.
        data: from :func:`micgraph.evaluation.prepare`.

    Returns:
        ``ui_align``: squared distance of a user's search vector (of several interests the nearest) and the search
        vector of an item that he went on to click, both without the dimension that carries the item's bias;
        ``uu_uniform`` of the users' own vectors, ``ii_uniform`` of the items', each of at most :data:`SAMPLE` drawn
        ones. NaN where no test click is on an item of the graph, or where there is only one user.
    """
    retriever = Retriever(model, graph, FusionConfig())
    queries = list(retriever.encode(data.histories, data.users))
    width = retriever.index.dim - model.towers.biased
    search = torch.cat([query.search for query in queries]).float()[..., :width]
    items = retriever.index.vectors.float()[:, :width]
    known = data.clicks.items < data.n_items
    owner, clicked = (x[known].to(items.device) for x in (data.clicks.owner(), data.clicks.items))
    unit = torch.nn.functional.normalize
    mine = search if search.dim() == 3 else search[:, None]
    nearest = (unit(mine[owner], dim=-1) * unit(items[clicked], dim=-1)[:, None]).sum(-1).argmax(1)
    aligned = metrics.alignment(mine[owner, nearest], items[clicked])
    own = torch.cat([query.own for query in queries]).float()
    return {
        "ui_align": float(aligned),
        "uu_uniform": _uniformity(own),
        "ii_uniform": _uniformity(retriever.items),
    }


def _uniformity(vectors: torch.Tensor) -> float:
    order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))
    drawn = vectors[order[:SAMPLE].to(vectors.device)]
    return float(metrics.uniformity(drawn)) if len(drawn) > 1 else math.nan
