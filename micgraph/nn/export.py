"""A trained model bound to a graph's features: what retrieval and evaluation ask for vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from micgraph.graph.context import ItemContext, Reads
from micgraph.graph.fields import Fields, take
from micgraph.nn.towers import ItemReps, TwoTower
from micgraph.schema import InputError

Surroundings = Callable[[Reads], ItemContext]


class BoundModel:
    """Encodes queries and items by internal index, in evaluation mode and without gradients.

    Args:
        towers: the model.
        item_fields, user_fields: features of every node, on the model's device.
        surroundings: what the graph says about every item, by what the towers read of it
            (:func:`micgraph.sampling.context.surroundings`). Towers that read nothing need none.

    Attributes:
        derived: what others made of the vectors as they are and keep here; :meth:`refresh` empties it.
    """

    def __init__(
        self, towers: TwoTower, item_fields: Fields, user_fields: Fields, surroundings: Surroundings | None = None
    ) -> None:
        if towers.reads is not None and surroundings is None:
            expected = f"what a graph says about its items, for towers that read {towers.reads}"
            raise InputError("surroundings", expected, "none", "pass surroundings(graph) of micgraph.sampling.context")
        self.towers, self.surroundings = towers, surroundings
        self.fields = {"item": item_fields, "user": user_fields}
        self._items: ItemReps | None = None
        self.derived: dict[Any, Any] = {}

    @property
    def metric(self) -> str:
        """How search vectors are compared: ``ip`` or ``cosine``."""
        return "cosine" if self.towers.config.similarity == "cosine" else "ip"

    @property
    def history(self) -> int:
        """T, the longest history that the encoder reads."""
        return self.towers.config.history

    @property
    def device(self) -> torch.device:
        """Where the model lies and expects its input."""
        return next(self.towers.parameters()).device

    def save(self, folder: Path) -> None:
        """Write the towers into an existing or new folder: their shape as JSON and their weights."""
        folder.mkdir(parents=True, exist_ok=True)
        spec = self.towers.spec(self.fields["item"], self.fields["user"])
        (folder / "towers.json").write_text(json.dumps(spec))
        weights = {name: value.detach().contiguous().cpu() for name, value in self.towers.state_dict().items()}
        save_file(weights, folder / "towers.safetensors")

    @classmethod
    def load(
        cls, folder: Path, item_fields: Fields, user_fields: Fields, surroundings: Surroundings | None = None
    ) -> BoundModel:
        """What :meth:`save` wrote, bound to the features of a graph and what else it says."""
        towers = TwoTower.from_spec(json.loads((folder / "towers.json").read_text()))
        towers.load_state_dict(load_file(folder / "towers.safetensors"))
        return cls(towers, item_fields, user_fields, surroundings)

    def refresh(self) -> None:
        """Forget encoded items and what was made of them; call it after the weights have changed."""
        self._items = None
        self.derived.clear()

    def items(self) -> ItemReps:
        """Every item encoded, and the unknown one last."""
        if self._items is None:
            with torch.no_grad():
                training = self.towers.training
                self._items = self.towers.eval().items(self.fields["item"], context=self._context())
                self.towers.train(training)
        return self._items

    def _context(self) -> ItemContext | None:
        reads = self.towers.reads
        return None if reads is None or self.surroundings is None else self.surroundings(reads)

    def item_vectors(self) -> tuple[Tensor, Tensor]:
        """(search [N, D], own [N, d]): what U2I searches, and the items' own space, which I2I compares."""
        items = self.items()
        with torch.no_grad():
            return self.towers.search_items(items)[:-1], items.vectors[:-1]

    def encode_queries(
        self, items: Tensor, mask: Tensor, user: Tensor, fields: Fields | None = None, gap: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode histories.

        Args:
            items: int64 [B, T], at most ``history`` item indices, oldest first, valid ones first; -1 is unknown.
            mask: bool [B, T].
            user: int64 [B], user indices; -1 is an unknown user.
            fields: user fields to use instead of the graph's.
            gap: int64 [B, T], seconds between each click and the one before it, -1 unknown; None: all unknown.

        Returns:
            (search [B, D], or [B, K, D] with several interests; own [B, d], with several interests their mean).
        """
        encoded = self.items()
        training = self.towers.training
        with torch.no_grad():
            self.towers.eval()
            user_fields = take(self.fields["user"], user) if fields is None else fields
            history = torch.where(mask, items, -1)
            own = self.towers.encoder(self.towers.query_input(encoded, history, mask, user_fields, gap=gap))
            self.towers.train(training)
            return self.towers.search_queries(own), own.mean(1) if own.dim() == 3 else own
