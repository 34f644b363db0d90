"""Uniformity and alignment of a run's vectors (MIC 3.8; Wang & Isola 2020)."""

from __future__ import annotations

import torch

from micgraph import metrics
from micgraph.experiments.bench import Bench
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.retriever import Retriever
from micgraph.run import Run

SAMPLE = 2000
"""Vectors of which uniformity is taken: pairs grow with the square."""


def spaces(run: Run, bench: Bench) -> dict[str, float]:
    """How users and items lie, lower is better: means over the test users' clicks and over pairs.

    Returns:
        ``ui_align``: squared distance of a user's search vector (of several interests the nearest) and the search
        vector of an item that he went on to click, both without the dimension that carries the item's bias;
        ``uu_uniform`` of the users' own vectors, ``ii_uniform`` of the items', each of at most :data:`SAMPLE` drawn
        ones.
    """
    retriever = Retriever(run.model, run.graph, FusionConfig())
    queries = list(retriever.encode(bench.test.histories, bench.test.users))
    width = retriever.index.dim - run.model.towers.biased
    search = torch.cat([query.search for query in queries]).float()[..., :width]
    items = retriever.index.vectors.float()[:, :width]
    known = bench.test.clicks.items < bench.test.n_items
    owner, clicked = bench.test.clicks.owner()[known], bench.test.clicks.items[known]
    unit = torch.nn.functional.normalize
    mine = search if search.dim() == 3 else search[:, None]
    nearest = (unit(mine[owner], dim=-1) * unit(items[clicked], dim=-1)[:, None]).sum(-1).argmax(1)
    aligned = metrics.alignment(mine[owner, nearest], items[clicked])
    own = torch.cat([query.own for query in queries]).float()
    return {
        "ui_align": float(aligned),
        "uu_uniform": float(metrics.uniformity(_drawn(own))),
        "ii_uniform": float(metrics.uniformity(_drawn(retriever.items))),
    }


def _drawn(vectors: torch.Tensor) -> torch.Tensor:
    order = torch.randperm(len(vectors), generator=torch.Generator().manual_seed(0))
    return vectors[order[:SAMPLE].to(vectors.device)]
