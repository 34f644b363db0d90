"""Query encoders that read the history as a sequence or as a bag: GRU4Rec, YoutubeDNN, MIC's DNN, ICAN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from micgraph.nn.dropout import Dropout
from micgraph.nn.gru import GRU
from micgraph.nn.interactions import check_heads
from micgraph.nn.lookup import masked_mean
from micgraph.nn.query import QueryEncoder, QueryInput, every_place, means_at, mlp
from micgraph.schema import ConfigError


class GRU4Rec(QueryEncoder):
    """One GRU over the history (Hidasi et al. 2016; DECISIONS 31): the last state, or the state at every position.

    User fields, where the tower reads any, are added to the state after one linear layer.

    Args:
        dim: width d of item vectors and of the output.
        user_width: width W of the user's fields laid end to end (0: none).
        dropout: on the items that go in and on the states that come out.
        layers: stacked GRU layers.
        hidden: width of the states; where given, a linear layer leads back to ``dim``.
    """

    every_position = True

    def __init__(
        self, dim: int, user_width: int = 0, dropout: float = 0.0, layers: int = 1, hidden: int | None = None
    ) -> None:
        super().__init__()
        self.gru = GRU(dim, hidden or dim, num_layers=layers, batch_first=True)
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(hidden, dim) if hidden else None
        self.user = nn.Linear(user_width, dim) if user_width else None

    def positions(self, query: QueryInput) -> Tensor:
        states = self.gru(self.dropout(query.vectors, query.dropped))
        states = self._out(states)
        return states if self.user is None else torch.add(states, self.user(query.user)[:, None])

    def forward(self, query: QueryInput) -> Tensor:
        last = self._out(self.gru.last(self.dropout(query.vectors, query.dropped), query.mask))
        return last if self.user is None else torch.add(last, self.user(query.user))

    def _out(self, states: Tensor) -> Tensor:
        states = self.dropout(states)
        return states if self.out is None else self.out(states)


class PooledMLP(QueryEncoder):
    """Masked mean of the history's item vectors and the user fields through an MLP (Covington et al. 2016).

    ``hidden=()`` is ComiRec's and MIC's DNN, one linear layer (DECISIONS 31-32); MicRec's YoutubeDNN has three.

    Args:
        dim: width d of item vectors and of the output.
        user_width: width W of the user's fields laid end to end (0: none).
        hidden: widths of the layers before the output.
        dropout: on the item vectors.
    """

    every_position = True

    def __init__(self, dim: int, user_width: int = 0, hidden: tuple[int, ...] = (), dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.layers = mlp([dim + user_width, *hidden, dim], nn.ReLU)

    def forward(self, query: QueryInput) -> Tensor:
        if query.dropped or not self.dropout.active:
            pooled = query.mean_vector()
        else:
            pooled = masked_mean(self.dropout(query.vectors), query.mask)
        return self.layers(torch.cat([pooled, query.user], dim=1))  # type: ignore[no-any-return]

    def positions(self, query: QueryInput) -> Tensor:
        return self.at(query, *every_place(query.mask)).view(*query.mask.shape, -1)

    def at(self, query: QueryInput, row: Tensor, place: Tensor) -> Tensor:
        pooled = means_at(self.dropout(query.vectors, query.dropped), query.mask, row, place)
        return self.layers(torch.cat([pooled, query.user[row]], dim=1))  # type: ignore[no-any-return]


class ICAN(QueryEncoder):
    """MicRec's user tower (Eq. 6; DECISIONS 18): self-attention over tokens, flatten, MLP 128-64-d with tanh.

    Eq. 6 has a Transformer layer, so the tokens are added to what they attend to (residual), and LayerNorm follows;
    a feed-forward part of its own it has not. tanh stands between the MLP's layers and not after the last one, so that
    the output is not confined to [-1, 1].

    A token is a feature field (the masked mean of that field over the recent behaviours) or, with
    ``tokens="items"``, one of the ``history`` most recent items.

    Args:
        dim: width d of the output.
        user_width: width W of the user's fields laid end to end (0: none).
        field_dim: width d_f of a field embedding.
        n_fields: number F of item fields.
        history: T, the longest history, which fixes the width of the flattened tokens with ``tokens="items"``.
        tokens: ``"fields"`` or ``"items"``.
        heads: attention heads.
        hidden: widths of the MLP's layers before the output.
        dropout: on the tokens.

    Raises:
        ConfigError: other tokens, or heads that do not divide the tokens' width.
    """

    reads_fields = True

    def __init__(
        self,
        dim: int,
        user_width: int,
        field_dim: int,
        n_fields: int,
        history: int,
        tokens: str = "fields",
        heads: int = 8,
        hidden: tuple[int, ...] = (128, 64),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if tokens not in ("fields", "items"):
            raise ConfigError("model.options.tokens", "'fields' or 'items'", repr(tokens), "choose one of them")
        self.by_field = self.every_position = tokens == "fields"
        self.reads_vectors = not self.by_field
        width = field_dim if self.by_field else dim
        check_heads("model.options.heads", heads, width)
        self.n_tokens = n_fields if self.by_field else history
        self.dropout = Dropout(dropout)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.layers = mlp([self.n_tokens * width + user_width, *hidden, dim], nn.Tanh)

    def forward(self, query: QueryInput) -> Tensor:
        tokens, padding = self._tokens(query)
        return self._mix(tokens, padding, query.user, query.dropped)

    def positions(self, query: QueryInput) -> Tensor:
        if not self.by_field:
            return super().positions(query)
        return self.at(query, *every_place(query.mask)).view(*query.mask.shape, -1)

    def at(self, query: QueryInput, row: Tensor, place: Tensor) -> Tensor:
        if not self.by_field:
            return super().at(query, row, place)
        return self._mix(means_at(query.fields, query.mask, row, place), None, query.user[row], query.dropped)

    def _mix(self, tokens: Tensor, padding: Tensor | None, user: Tensor, dropped: bool) -> Tensor:
        tokens = self.dropout(tokens, dropped)
        mixed, _ = self.attention(tokens, tokens, tokens, key_padding_mask=padding, need_weights=False)
        mixed = self.norm(tokens + mixed)
        if padding is not None:
            mixed = mixed * ~padding[:, :, None]
        return self.layers(torch.cat([mixed.flatten(1), user], dim=1))  # type: ignore[no-any-return]

    def _tokens(self, query: QueryInput) -> tuple[Tensor, Tensor | None]:
        if self.by_field:
            return query.mean_fields(), None
        missing = self.n_tokens - query.vectors.shape[1]
        vectors = nn.functional.pad(query.vectors, (0, 0, 0, missing))
        padding = ~nn.functional.pad(query.mask, (0, missing))
        # a line without any token would turn the softmax into NaN: let it attend to its first, zero, place
        padding = padding & ~(padding.all(1, keepdim=True) & (torch.arange(self.n_tokens, device=padding.device) == 0))
        return vectors, padding
