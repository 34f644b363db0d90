"""Item encoders: how the field embeddings of an item become its vector."""

from __future__ import annotations

from torch import Tensor, nn

from micgraph.nn.query import mlp


class ItemEncoder(nn.Module):
    """Base of the item towers: raw field embeddings in, one vector out.

    Subclasses set ``biased`` if :meth:`bias` has something to say.
    """

    biased = False

    def forward(self, raw: Tensor) -> Tensor:
        """float [n, F, d_f] -> [n, d]."""
        raise NotImplementedError

    def bias(self, raw: Tensor) -> Tensor | None:
        """float [n], what an item's score has whatever the query (DECISIONS 19); None: nothing."""
        return None


class SumFields(ItemEncoder):
    """The sum of the field embeddings (d_f = d)."""

    def forward(self, raw: Tensor) -> Tensor:
        return raw.sum(1)


class MLPFields(ItemEncoder):
    """All fields laid end to end through an MLP with tanh (MicRec 3.2).

    Args:
        width: F * d_f.
        hidden: widths of the layers before the output.
        dim: d.
    """

    def __init__(self, width: int, hidden: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.layers = mlp([width, *hidden, dim], nn.Tanh)

    def forward(self, raw: Tensor) -> Tensor:
        return self.layers(raw.flatten(1))  # type: ignore[no-any-return]
