"""What a recommender is made of and fitted on: the shapes of things that higher layers hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from micgraph.graph.fields import Fields
from micgraph.graph.recgraph import RecGraph
from micgraph.knn import Ragged
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.learned import LearnedFusion
from micgraph.schema import InputError


class RetrievalModel(Protocol):
    """What retrieval asks of a trained model. All ids are the graph's internal ones."""

    @property
    def metric(self) -> str:
        """``"ip"`` or ``"cosine"``: how search vectors are compared."""

    @property
    def history(self) -> int:
        """T, the longest history that the encoder reads."""

    @property
    def device(self) -> torch.device:
        """Where the model lies and expects its input."""

    @property
    def derived(self) -> dict[Any, Any]:
        """What retrieval keeps of the vectors as they are; the model empties it when its weights have changed."""

    def encode_queries(
        self, items: Tensor, mask: Tensor, user: Tensor, fields: Fields | None = None, gap: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode histories int64 [B, T] (oldest first, valid ones first, -1 an unknown item) of users int64 [B].

        Args:
            fields: user features to read instead of the graph's.
            gap: int64 [B, T], seconds since the click before, -1 unknown; None: all unknown.

        Returns:
            search [B, d], or [B, K, d] with several interests, which finds items; own [B, d'], which finds users.
        """

    def with_items(self, item_fields: Fields, surroundings: Any) -> RetrievalModel:
        """The same model on more items, behind those that there are; asked for when items are added.

        Args:
            item_fields: features of all items, on the model's device.
            surroundings: what the graph with these items says about them, by what a model reads
                (:func:`micgraph.sampling.context.surroundings`).
        """

    def save(self, path: Path) -> None:
        """Write the model into the folder ``path``, for the loader that ``Recommender.load`` is given."""

    def item_vectors(self) -> tuple[Tensor, Tensor]:
        """search [N, d], what a query's search vector is compared with; own [N, d'], what items are compared by."""


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


def check_items(model: RetrievalModel, n_items: int) -> None:
    """Refuse a model that holds the features of other items than a graph's.

    Raises:
        InputError: of another number.
    """
    held = getattr(model, "fields", {}).get("item", {})
    for one in held.values():
        if len(one) != n_items:
            remedy = "pass the run with the graph that it was trained on"
            raise InputError("graph", f"the {len(one):,} items of the model", f"{n_items:,}", remedy)
