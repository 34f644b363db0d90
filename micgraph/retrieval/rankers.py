"""What evaluation asks of a model: lists by internal index, from the U2I search alone or from all three channels."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import torch
from torch import Tensor

from micgraph.graph.recgraph import RecGraph
from micgraph.knn import Ragged, Subset, check_ids
from micgraph.retrieval.channels import ChannelName
from micgraph.retrieval.contracts import RetrievalModel
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.recommender import Recommender
from micgraph.retrieval.retriever import Retriever


class U2IRanker:
    """The plain model: items by the score of its search vectors.

    Args:
        model: the model as it is now; make a new ranker when its weights have changed.
        graph: what it was trained on.
        name: what tables call it.
        candidates: int64 [C], the only items that may be ranked (all by default).

    Raises:
        InputError: candidates that are no ids, such as a mask of booleans, or that the graph does not have.
    """

    def __init__(
        self, model: RetrievalModel, graph: RecGraph, name: str = "u2i", candidates: Tensor | None = None
    ) -> None:
        if candidates is not None:
            check_ids(candidates, graph.n_items, "candidates")
        self.retriever, self.name, self.candidates = Retriever(model, graph, FusionConfig()), name, candidates

    @cached_property
    def _among(self) -> Subset | None:
        return None if self.candidates is None else self.retriever.index.subset(self.candidates)

    def rank(self, histories: Ragged, users: Tensor, k: int, exclude: Ragged | None = None) -> Tensor:
        """The ``k`` best items of each user: int64 [B, k] on the CPU, -1 where fewer are left.

        Args:
            histories: internal items, oldest first.
            users: int64 [B], -1 for somebody the graph does not know.
            k: length of the lists.
            exclude: items that each user must not get.
        """
        index = self.retriever.index
        queries = self.retriever.encode(histories, users, exclude=exclude)
        return _stack([index.search(q.search, k, q.exclude, self._among)[1] for q in queries], k)


class FusedRanker:
    """The fused list, as ``recommend`` gives it: popular items behind what the channels found.

    Args:
        recommender: the model with its stores.
        channels: the channels to read; those of the fusion's config by default.
        name: what tables call it.
        fill: whether popular items fill up what the channels leave open.
    """

    def __init__(
        self,
        recommender: Recommender,
        channels: Collection[ChannelName] | None = None,
        name: str = "fused",
        fill: bool = True,
    ) -> None:
        self.retriever, self.channels, self.name, self.fill = recommender.retriever, channels, name, fill

    def rank(self, histories: Ragged, users: Tensor, k: int, exclude: Ragged | None = None) -> Tensor:
        """The ``k`` items of each user's list: int64 [B, k]; for the arguments see :meth:`U2IRanker.rank`."""
        queries = self.retriever.encode(histories, users, exclude=exclude)
        found = (self.retriever.lists(q, k, self.channels) for q in queries)
        return _stack([lists.items if self.fill else lists.fused.items for lists in found], k)


def _stack(parts: list[Tensor], k: int) -> Tensor:
    return torch.cat([torch.zeros(0, k, dtype=torch.int64), *(part.cpu() for part in parts)])
