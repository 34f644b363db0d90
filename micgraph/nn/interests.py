"""Query encoders with several interests a user: ComiRec by self-attention and by dynamic routing (DECISIONS 24, 31)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from micgraph.nn.dropout import Dropout
from micgraph.nn.query import QueryEncoder, QueryInput

ROUTING = 3
"""Iterations of dynamic routing, as published."""

SAFE_RANGE = 60.0
"""exp of minus so much, times a vector, is still a normal float32."""


class MultiInterest(QueryEncoder):
    """What both ComiRecs share: K interests from the history, to each of which the user's fields may add.

    Args:
        dim: width d of item vectors and of the output.
        user_width: width W of the user's fields laid end to end (0: none); they go through one linear layer.
        history: T, the longest history.
        interests: K.
        dropout: on the items that go in.
    """

    def __init__(self, dim: int, user_width: int, history: int, interests: int, dropout: float) -> None:
        super().__init__()
        self.history, self.interests = history, interests
        self.dropout = Dropout(dropout)
        self.user = nn.Linear(user_width, dim) if user_width else None

    def forward(self, query: QueryInput) -> Tensor:
        found = self.read(self.dropout(query.vectors, query.dropped), query.mask)
        return found if self.user is None else torch.add(found, self.user(query.user)[:, None])

    def read(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """The interests of histories [B, T, d] with ``mask`` [B, T]: float [B, K, d], zeros of an empty history."""
        raise NotImplementedError


class ComiRecSA(MultiInterest):
    """Each interest is a mean of the history's item vectors, weighted by an attention of its own (Cen et al. 2020).

    A = softmax over time of dense(tanh(dense(v + p))) with 4d hidden units; learned absolute positions p are counted
    from the start of what is read, and are part of the attention only. The outer layer has no bias, which a softmax
    over time would cancel. An interest of a prefix is a ratio of running sums, so every position is scored at once.

    Args:
        dim, user_width, history, dropout: see :class:`MultiInterest`.
        interests: K.
    """

    every_position = True

    def __init__(
        self, dim: int, user_width: int = 0, history: int = 50, interests: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__(dim, user_width, history, interests, dropout)
        self.place = nn.Parameter(torch.randn(history, dim) * dim**-0.5)
        self.attention = nn.Sequential(nn.Linear(dim, 4 * dim), nn.Tanh(), nn.Linear(4 * dim, interests, bias=False))

    def read(self, vectors: Tensor, mask: Tensor) -> Tensor:
        share = self._logits(vectors, mask).softmax(1) * mask[:, :, None]  # of an empty history nothing is left
        return torch.einsum("btk,btd->bkd", share, vectors)

    def positions(self, query: QueryInput) -> Tensor:
        """float [B, T, K, d]: at t, the interests of a history that ends with item t."""
        vectors = self.dropout(query.vectors, query.dropped)
        found = prefix_attention(self._logits(vectors, query.mask), vectors)
        return found if self.user is None else torch.add(found, self.user(query.user)[:, None, None])

    def _logits(self, vectors: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.attention(vectors + self.place[: vectors.shape[1]])
        return logits.masked_fill(~mask[:, :, None], torch.finfo(logits.dtype).min)


class ComiRecDR(MultiInterest):
    """Each interest is a capsule that dynamic routing makes of the history (Cen et al. 2020; Sabour et al. 2017).

    A matrix for each (position, interest) turns an item vector into a vote; positions count from the start of what
    is read. The logits of routing start at zero; a softmax over interests says how much of a vote goes to each; the
    sums are squashed to a length below 1, and the logits grow by their products with the votes. Gradients flow
    through the last of the three iterations only. The matrices start with variance 1/d, which keeps lengths.

    Args:
        dim, user_width, history, dropout: see :class:`MultiInterest`; there are history * K * d * d weights.
        interests: K.
    """

    def __init__(
        self, dim: int, user_width: int = 0, history: int = 50, interests: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__(dim, user_width, history, interests, dropout)
        self.weight = nn.Parameter(torch.randn(history, dim, interests * dim) * dim**-0.5)

    def read(self, vectors: Tensor, mask: Tensor) -> Tensor:
        size, length, dim = vectors.shape
        votes = torch.bmm(vectors.transpose(0, 1), self.weight[:length]).transpose(0, 1)
        votes = votes.reshape(size, length, self.interests, dim)
        fixed, there = votes.detach(), mask[:, :, None].to(votes.dtype)
        logits = torch.zeros_like(fixed[..., 0])
        for _ in range(ROUTING - 1):
            capsule = squash(torch.einsum("btk,btkd->bkd", logits.softmax(2) * there, fixed))
            logits = logits + torch.einsum("btkd,bkd->btk", fixed, capsule)
        return squash(torch.einsum("btk,btkd->bkd", logits.softmax(2) * there, votes))


def squash(x: Tensor) -> Tensor:
    """Vectors [..., d] of length n shortened to n^2 / (1 + n^2); zeros stay."""
    square = x.square().sum(-1, keepdim=True)
    return x * (square / (1 + square) / torch.sqrt(square + 1e-9))


def prefix_attention(logits: Tensor, values: Tensor) -> Tensor:
    """At each t, the mean of ``values`` 0..t weighted by the softmax of ``logits`` over these places.

    Args:
        logits: float [B, T, K].
        values: float [B, T, d].

    Returns:
        float [B, T, K, d].
    """
    largest = logits.detach().amax(1, keepdim=True)
    if bool((largest - logits.detach()[:, :1] > SAFE_RANGE).any()):  # a first weight might vanish beside a later one
        return _prefix_attention_slow(logits, values)
    weight = (logits - largest).exp()
    total = (weight[..., None] * values[:, :, None]).cumsum(1)
    return total / weight.cumsum(1)[..., None]


def _prefix_attention_slow(logits: Tensor, values: Tensor) -> Tensor:
    """The same by a softmax for each t, whatever the logits: O(T^2)."""
    (size, length, interests), later = logits.shape, logits.new_ones(logits.shape[1], logits.shape[1]).triu(1).bool()
    scores = logits.transpose(1, 2)[:, :, None].expand(size, interests, length, length)
    share = F.softmax(scores.masked_fill(later, -torch.inf), dim=-1)
    return torch.einsum("bkts,bsd->btkd", share, values)
