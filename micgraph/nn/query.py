"""What a query encoder reads, and what every query encoder must offer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from micgraph.nn.dropout import Dropout
from micgraph.nn.lookup import Looked, masked_mean
from micgraph.schema import InputError


@dataclass(frozen=True)
class QueryInput:
    """B histories, already looked up in the items that the step has encoded.

    Attributes:
        own: what :attr:`vectors` are, or where they are looked up.
        raw: what :attr:`fields` are, or where they are looked up.
        mask: bool [B, T].
        user: float [B, W], the user's field embeddings laid end to end; W = 0 where no user field is read.
        messages: float [B, T, d], what the items send to sums over histories, or None where they send nothing.
        dropped: whether all of these have been dropped out already, as perturbed views have; the encoder's own dropout
            then leaves what goes in as it is.
    """

    own: Tensor | Looked
    raw: Tensor | Looked
    mask: Tensor
    user: Tensor
    messages: Tensor | None = None
    dropped: bool = False

    @property
    def vectors(self) -> Tensor:
        """float [B, T, d], the item tower's vectors of the history, oldest first, valid ones first."""
        return self.own.rows if isinstance(self.own, Looked) else self.own

    @property
    def fields(self) -> Tensor:
        """float [B, T, F, d_f], the raw field embeddings of the same items."""
        return self.raw.rows if isinstance(self.raw, Looked) else self.raw

    def mean_vector(self) -> Tensor:
        """float [B, d], the mean of each history's :attr:`vectors`; zeros where it is empty."""
        return self.own.mean(self.mask) if isinstance(self.own, Looked) else masked_mean(self.own, self.mask)

    def mean_fields(self) -> Tensor:
        """float [B, F, d_f], the mean of each history's :attr:`fields`; zeros where it is empty."""
        return self.raw.mean(self.mask) if isinstance(self.raw, Looked) else masked_mean(self.raw, self.mask)


class QueryEncoder(nn.Module):
    """Base of the user towers: a history and user fields in, one vector out, or one for each of K interests.

    Subclasses set ``every_position`` if :meth:`positions` scores each prefix of a history in one pass, and
    ``reads_fields`` if they need ``QueryInput.fields`` (it is empty otherwise, which saves memory), and
    ``reads_messages`` if they need ``QueryInput.messages``, which not all item towers give. Those that need no
    ``QueryInput.vectors`` clear ``reads_vectors``.
    """

    every_position = False
    reads_vectors = True
    reads_fields = False
    reads_messages = False

    def forward(self, query: QueryInput) -> Tensor:
        """float [B, d], the vector of each whole history, or [B, K, d], its interests (DECISIONS 24)."""
        raise NotImplementedError

    def positions(self, query: QueryInput) -> Tensor:
        """float [B, T, d]: at t, the vector of a history that ends with item t (only with ``every_position``).

        Raises:
            InputError: the encoder says ``every_position`` and has none.
        """
        if not self.every_position:
            raise NotImplementedError
        name, remedy = type(self).__name__, "define it, or leave every_position out"
        raise InputError(name, "a method positions, as every_position says", "none", remedy)

    def at(self, query: QueryInput, row: Tensor, place: Tensor) -> Tensor:
        """Rows of :meth:`positions`: float [C, d] for int64 [C] lines and [C] places, each pair once.

        Encoders of pooled histories override it, since they can leave out all other places: where many clicks share a
        second, as those of a basket do, few places of a history are ever asked for.
        """
        return self.positions(query)[row, place]


def check_vectors(name: str, found: Tensor, size: int, dim: int) -> Tensor:
    """What an encoder gave, if it is [size, dim] or [size, K, dim]; shapes alone are looked at, nothing is waited for.

    Args:
        name: of the encoder.
        found: its vectors.
        size: how many queries it was asked for.
        dim: d of the model.

    Raises:
        InputError: another shape, or no tensor.
    """
    shape = tuple(getattr(found, "shape", ()))
    if len(shape) not in (2, 3) or (shape[0], shape[-1]) != (size, dim):
        got = f"the shape {list(shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        expected = f"vectors [{size}, {dim}] (queries, model.dim), or [{size}, K, {dim}] of K interests"
        raise InputError(f"encoder {name}", expected, got, "mend its forward, or positions where it scores every place")
    return found


def running_mean(x: Tensor, mask: Tensor) -> Tensor:
    """:func:`masked_mean` of every prefix: at t, of the places 0..t; [B, T, ...] and [B, T] -> [B, T, ...]."""
    weight = mask.to(x.dtype).view(*mask.shape, *(1,) * (x.dim() - 2))
    return (x * weight).cumsum(1) / weight.cumsum(1).clamp(min=1)


def means_at(x: Tensor, mask: Tensor, row: Tensor, place: Tensor) -> Tensor:
    """:func:`running_mean` at some places, each asked for once: [B, T, ...], int64 [C] and [C] -> [C, ...]."""
    return running_mean(x, mask).flatten(0, 1).index_select(0, row * x.shape[1] + place)


def every_place(mask: Tensor) -> tuple[Tensor, Tensor]:
    """(line, place) of all places of ``mask`` [B, T], line by line: int64 [B * T] each."""
    row, place = torch.ones_like(mask).nonzero(as_tuple=True)
    return row, place


def mlp(sizes: list[int], activation: type[nn.Module], last_linear: bool = True, dropout: float = 0.0) -> nn.Sequential:
    """A stack of linear layers ``sizes[0] -> ... -> sizes[-1]``, the last one without activation by default."""
    layers: list[nn.Module] = []
    for i, (n_in, n_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers.append(nn.Linear(n_in, n_out))
        if i < len(sizes) - 2 or not last_linear:
            layers.append(activation())
            if dropout:
                layers.append(Dropout(dropout))
    return nn.Sequential(*layers)


def last_valid(states: Tensor, mask: Tensor) -> Tensor:
    """The state at the last valid place of each line: [B, T, d] and [B, T] -> [B, d]; zeros where there is none."""
    length = mask.sum(1)
    at = (length - 1).clamp(min=0)
    picked = states[torch.arange(len(at), device=at.device), at]
    return picked * (length > 0)[:, None].to(picked.dtype)
