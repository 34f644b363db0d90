"""Field embeddings: every feature of a user or an item becomes one vector of the same width."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from micgraph.graph.fields import Field, Fields


class FieldEncoder(nn.Module):
    """Embeds each field into ``dim`` numbers (the raw feature matrix f_i of MicRec 3.3).

    Categorical codes look up a table whose row 0 stands for "missing or never seen"; multi-valued ones take the
    mean of their codes' rows; dense numbers and given content embeddings go through one linear layer each.

    Args:
        fields: the fields to encode, as examples of name, kind and size; the tensors in them are not kept.
        dim: width of every field's embedding.
    """

    def __init__(self, fields: Fields, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.names = list(fields)
        self.sizes = {name: field.size for name, field in fields.items()}
        # a list, since a ModuleDict refuses names such as "type" or "a.b", which columns may well have
        self.embed = nn.ModuleList(_embedding(field, dim) for field in fields.values())

    @property
    def width(self) -> int:
        """Length of all field embeddings laid end to end: F * dim."""
        return len(self.names) * self.dim

    def forward(self, fields: Fields, keep: Tensor | None = None) -> Tensor:
        """Embed the fields of n nodes.

        Args:
            fields: the same names and kinds as at construction, n nodes each.
            keep: bool [n, F]; a field that is not kept is read as "missing" (MIC 2.4.1, field-level perturbation).

        Returns:
            float [n, F, dim].
        """
        columns = [
            _encode(layer, fields[name], None if keep is None else keep[:, i])
            for i, (name, layer) in enumerate(zip(self.names, self.embed, strict=True))
        ]
        return torch.stack(columns, dim=1)


def _encode(layer: nn.Module, field: Field, keep: Tensor | None) -> Tensor:
    if field.offsets is not None:
        assert isinstance(layer, nn.EmbeddingBag)
        pooled = _pool(layer, field)
        return pooled if keep is None else torch.where(keep[:, None], pooled, layer.weight[0])
    if field.kind == "categorical":
        codes = field.values.long()
        return layer(codes if keep is None else torch.where(keep, codes, 0))  # type: ignore[no-any-return]
    values = field.values.to(torch.float32)
    return layer(values if keep is None else values * keep[:, None])  # type: ignore[no-any-return]


def _pool(layer: nn.EmbeddingBag, field: Field) -> Tensor:
    """Mean over each node's codes; a node without any gets row 0, as a missing category does."""
    assert field.offsets is not None
    empty = field.offsets[1:] == field.offsets[:-1]
    pooled = F.embedding_bag(field.values.long(), layer.weight, field.offsets, mode="mean", include_last_offset=True)
    return torch.where(empty[:, None], layer.weight[0], pooled)


def _embedding(field: Field, dim: int) -> nn.Module:
    if field.kind in ("categorical", "multi"):
        table = nn.Embedding(field.size, dim) if field.kind == "categorical" else nn.EmbeddingBag(field.size, dim)
        nn.init.normal_(table.weight, std=dim**-0.5)
        with torch.no_grad():
            table.weight[0] = 0.0  # "missing" says nothing until a perturbation has trained it
        return table
    return nn.Linear(field.size, dim)
