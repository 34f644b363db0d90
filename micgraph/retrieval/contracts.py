"""What a recommender is made of and fitted on: the shapes of things that higher layers hold."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from micgraph.graph.recgraph import RecGraph
from micgraph.knn import Ragged
from micgraph.retrieval.channels import RetrievalModel
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.learned import LearnedFusion


class TrainedRun(Protocol):
    """What a recommender is made of; :class:`micgraph.Run` is one."""

    @property
    def graph(self) -> RecGraph:
        """The graph that the model was trained on."""

    @property
    def model(self) -> RetrievalModel:
        """The trained model; :meth:`Recommender.save` calls its ``save(path)``."""

    @property
    def fusion(self) -> FusionConfig:
        """Sizes and weights."""

    @property
    def learned(self) -> LearnedFusion | None:
        """The fitted model of the learned fusion, where there is one."""


class HeldOut(Protocol):
    """Users whose next clicks are known, in the graph's numbers; :func:`micgraph.evaluation.prepare` makes one."""

    @property
    def users(self) -> Tensor:
        """int64 [B], -1 for somebody whom the graph does not know."""

    @property
    def histories(self) -> Ragged:
        """B rows of items that could be read, oldest first."""

    @property
    def clicks(self) -> Ragged:
        """B rows of items that they went on to click."""
