"""SASRec: the history through blocks of causal self-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from micgraph.nn.dropout import Dropout
from micgraph.nn.interactions import check_heads
from micgraph.nn.query import QueryEncoder, QueryInput, last_valid


class SASRec(QueryEncoder):
    """Causal self-attention over the history (Kang & McAuley 2018): the last state, or the state at every position.

    Item vectors times sqrt(d) plus learned absolute positions; then blocks of attention and of a point-wise
    feed-forward layer, each as x + dropout(f(LayerNorm(x))); a last LayerNorm. Positions count from the start of what
    is read, so that one pass scores every prefix as it would be scored alone. Valid places come first and none
    looks ahead, hence no place that is read sees padding.

    Args:
        dim: width d of item vectors and of the output.
        user_width: width W of the user's fields laid end to end (0: none); added to the state after a linear layer.
        history: T, the longest history.
        dropout: on what goes in, on the attention's weights and on what each layer adds.
        blocks: how many.
        heads: attention heads; the paper has one.

    Raises:
        ConfigError: heads that do not divide d.
    """

    every_position = True

    def __init__(
        self,
        dim: int,
        user_width: int = 0,
        history: int = 50,
        dropout: float = 0.0,
        blocks: int = 2,
        heads: int = 1,
    ) -> None:
        super().__init__()
        check_heads("model.options.heads", heads, dim)
        self.place = nn.Parameter(torch.randn(history, dim) * dim**-0.5)
        self.dropout = Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(dim, heads, dropout) for _ in range(blocks)))
        self.norm = nn.LayerNorm(dim)
        self.user = nn.Linear(user_width, dim) if user_width else None

    def forward(self, query: QueryInput) -> Tensor:
        last = last_valid(self._states(query.vectors, query.dropped), query.mask)
        return last if self.user is None else torch.add(last, self.user(query.user))

    def positions(self, query: QueryInput) -> Tensor:
        states = self._states(query.vectors, query.dropped)
        return states if self.user is None else torch.add(states, self.user(query.user)[:, None])

    def _states(self, vectors: Tensor, dropped: bool) -> Tensor:
        length, dim = vectors.shape[1:]
        tokens = self.dropout(vectors * dim**0.5 + self.place[:length], dropped)
        return self.norm(self.blocks(tokens))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer of causal self-attention and one feed-forward layer of the same width, both residual.

    Args:
        dim: d.
        heads: attention heads.
        dropout: on the attention's weights and on what each layer adds.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = Dropout(dropout)
        self.norms = nn.ModuleList([nn.LayerNorm(dim), nn.LayerNorm(dim)])
        self.project = nn.Linear(dim, 3 * dim)
        self.mix = nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), Dropout(dropout), nn.Linear(dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """float [B, T, d] -> [B, T, d]."""
        x = x + self.dropout(self._attend(self.norms[0](x)))
        return x + self.dropout(self.feed(self.norms[1](x)))  # type: ignore[no-any-return]

    def _attend(self, x: Tensor) -> Tensor:
        size, length, dim = x.shape
        parts = self.project(x).view(size, length, 3, self.heads, dim // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        drop = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=drop, is_causal=True)
        return self.mix(mixed.transpose(1, 2).reshape(size, length, dim))  # type: ignore[no-any-return]
