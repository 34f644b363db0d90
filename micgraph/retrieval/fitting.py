"""Fitting the learned fusion on users whose next clicks are known."""

from __future__ import annotations

from dataclasses import replace

import torch

from micgraph.retrieval.contracts import HeldOut
from micgraph.retrieval.fusion import pool_scores, refuse_own
from micgraph.retrieval.learned import FEATURES, LearnedFusion, features
from micgraph.retrieval.pool import cut
from micgraph.retrieval.retriever import Retriever
from micgraph.schema import InputError


def fit_on(retriever: Retriever, data: HeldOut, filter_seen: bool = True) -> LearnedFusion:
    """Fit the learned fusion, which the retriever uses from then on.

    Args:
        retriever: finds the candidates.
        data: users, what could be read of each, and what they went on to click.
        filter_seen: fit it for lists without the items of the history.

    Raises:
        InputError: the channels found none of the clicks, or nothing else; or ``data`` is not in the graph's numbers.
    """
    _check(retriever, data)
    rows, labels, owners, start, config = [], [], [], 0, retriever.config
    exclude = data.histories if filter_seen else None
    for queries in retriever.encode(data.histories, data.users, exclude=exclude):
        pool = retriever.pool(queries, config.channels, None, config.k1)
        basic, cosine = pool_scores(pool, queries.search, retriever.index)
        held = cut(pool, cosine, config.k2, config.k3)
        mask = held.any(1)
        hits = data.clicks.rows(start, start + len(queries)).to(retriever.device)
        rows.append(features(pool, held, basic)[mask])
        labels.append(hits.contains(pool.items)[mask])
        owners.append(mask.nonzero()[:, 0] + start)
        start += len(queries)
    names = config.learn_from or FEATURES
    retriever.learned = LearnedFusion.fit(torch.cat(rows), torch.cat(labels), torch.cat(owners), names)
    retriever.config = replace(config, fusion="learned")
    return retriever.learned


def _check(retriever: Retriever, data: HeldOut) -> None:
    """Refuse what is no held-out data, or in the numbers of another graph, and channels that cannot be learned from."""
    refuse_own(retriever.config.channels)
    expected, remedy = "held-out clicks in the graph's numbers", "pass micgraph.evaluation.prepare(holdout, graph)"
    if not all(hasattr(data, name) for name in ("users", "histories", "clicks")):
        raise InputError("data", expected, f"a {type(data).__name__}", remedy)
    made = getattr(data, "graph", None)
    if made is not None and made != retriever.graph.fingerprint():
        raise InputError("data", expected, "those of another graph", remedy)
