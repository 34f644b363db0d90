"""A trained model bound to a graph's features: what retrieval and evaluation ask for vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from micgraph.graph.context import ItemContext, Reads
from micgraph.graph.fields import Fields, take
from micgraph.nn.towers import ItemReps, TwoTower
from micgraph.schema import InputError

Surroundings = Callable[[Reads], ItemContext]


class Evaluation:
    """Holds a module in evaluation mode as long as any thread is inside, then puts it back into the mode it had."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._lock = module, Lock()
        self._inside, self._before = 0, False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Inside, nothing is dropped out, and no gradients are kept."""
        with self._lock:
            if not self._inside:
                self._before = self._module.training
                if any(part.training for part in self._module.modules()):  # a request need not tell every part again
                    self._module.eval()
            self._inside += 1
        try:
            with torch.no_grad():
                yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside and self._before:
                    self._module.train()


def _check_sizes(known: dict[str, int], fields: Fields) -> None:
    """Refuse fields of another graph, whose codes would be read as other values or as none."""
    for name, size in known.items():
        if name not in fields or fields[name].size != size:
            got = f"{fields[name].size:,}" if name in fields else "no such field"
            remedy = "bind towers to the graph that they were trained on; another one needs a warm start"
            raise InputError("graph", f"{size:,} values of the field {name!r}, as in training", got, remedy)


class BoundModel:
    """Encodes queries and items by internal index, in evaluation mode and without gradients, in any number of threads.

    Args:
        towers: the model.
        item_fields, user_fields: features of every node, on the model's device.
        surroundings: what the graph says about every item, by what the towers read of it
            (:func:`micgraph.sampling.context.surroundings`). Towers that read nothing need none.

    Attributes:
        derived: what others made of the vectors as they are and keep here; :meth:`refresh` empties it.

    Raises:
        InputError: fields of another graph than the towers were made for, or no surroundings where they are read.
    """

    def __init__(
        self, towers: TwoTower, item_fields: Fields, user_fields: Fields, surroundings: Surroundings | None = None
    ) -> None:
        if towers.reads is not None and surroundings is None:
            expected = f"what a graph says about its items, for towers that read {towers.reads}"
            raise InputError("surroundings", expected, "none", "pass surroundings(graph) of micgraph.sampling.context")
        for known, fields in ((towers.item_fields, item_fields), (towers.user_fields, user_fields)):
            _check_sizes(known.sizes, fields)
        self.towers, self.surroundings = towers, surroundings
        self.fields = {"item": item_fields, "user": user_fields}
        self._items: ItemReps | None = None
        self._evaluated = Evaluation(towers)
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
        found = self._items
        if found is None:
            with self._evaluated():
                found = self._items = self.towers.items(self.fields["item"], context=self._context())
        return found

    def with_items(self, item_fields: Fields, surroundings: Surroundings | None = None) -> BoundModel:
        """The same towers on more items, behind those that there are.

        Towers that read no graph encode the new items alone; others all of them again.

        Args:
            item_fields: features of all items, on the model's device.
            surroundings: as for the class, of the graph with these items.
        """
        old, n = self.items(), len(next(iter(self.fields["item"].values())))
        more = copy(self)
        more.fields, more.surroundings, more.derived = {**self.fields, "item": item_fields}, surroundings, {}
        more._items = None
        if self.towers.reads is None:
            at = torch.arange(n, len(next(iter(item_fields.values()))), device=self.device)
            with self._evaluated():
                new = self.towers.items(take(item_fields, at))
            more._items = ItemReps(
                _behind(old.fields, new.fields),
                _behind(old.vectors, new.vectors),
                None if old.bias is None or new.bias is None else _behind(old.bias, new.bias),
                None if old.messages is None or new.messages is None else _behind(old.messages, new.messages),
            )
        return more

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
        with self._evaluated():
            user_fields = take(self.fields["user"], user) if fields is None else fields
            history = torch.where(mask, items, -1)
            own = self.towers.encode(self.towers.query_input(encoded, history, mask, user_fields, gap=gap))
            return self.towers.search_queries(own), own.mean(1) if own.dim() == 3 else own


def _behind(old: Tensor, new: Tensor) -> Tensor:
    """The rows of ``old`` but its last one, the unknown item's, then those of ``new``, which end with it too."""
    return torch.cat([old[:-1], new])
