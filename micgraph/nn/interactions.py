"""How field embeddings mix inside one tower: factorisation machines, DeepFM's towers, AutoInt's interacting layers.

Everything here turns tokens, one vector for each field, into one vector; which tower they belong to it does not know.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from micgraph.nn.query import mlp
from micgraph.schema import ConfigError, check_whole


class SumTokens(nn.Module):
    """The sum of the tokens: what a factorisation machine needs of the other side (DECISIONS 19)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """float [N, F, d] -> [N, d]."""
        return tokens.sum(1)


class DeepFM(nn.Module):
    """FM and an MLP over the same tokens, added (Guo et al. 2017), inside one tower (DECISIONS 19).

    Where DeepFM adds numbers a tower adds vectors: the sum of the tokens (first order), the element-wise products of
    every two tokens (second order), and the MLP's output.

    Args:
        n_tokens: F.
        dim: d, width of tokens and of the output.
        hidden: widths of the MLP's layers before the output.
    """

    def __init__(self, n_tokens: int, dim: int, hidden: tuple[int, ...] = (128, 64)) -> None:
        super().__init__()
        self.layers = mlp([n_tokens * dim, *hidden, dim], nn.ReLU)

    def forward(self, tokens: Tensor) -> Tensor:
        """float [N, F, d] -> [N, d]."""
        return tokens.sum(1) + pair_products(tokens) + self.layers(tokens.flatten(1))  # type: ignore[no-any-return]


class AutoInt(nn.Module):
    """Interacting layers over the tokens, then one linear layer over all of them end to end (Song et al. 2019).

    Args:
        n_tokens: F.
        width: d_f, width of the tokens, in every layer.
        dim: d, width of the output.
        heads: of the attention in each layer, a divisor of ``width`` (:func:`check_heads`); the paper has 2.
        layers: interacting layers; the paper has 3.
    """

    def __init__(self, n_tokens: int, width: int, dim: int, heads: int, layers: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Interacting(width, heads) for _ in range(layers)))
        self.out = nn.Linear(n_tokens * width, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """float [N, F, d_f] -> [N, d]."""
        return self.out(self.layers(tokens).flatten(1))  # type: ignore[no-any-return]


class Interacting(nn.Module):
    """ReLU(attention(x) + W_res x), Song et al. Eqs. 5-8; products are scaled by the heads' width, as in their code.

    Args:
        width: d_f.
        heads: a divisor of it.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 4 * width, bias=False)  # queries, keys, values, residual

    def forward(self, tokens: Tensor) -> Tensor:
        """float [N, F, d_f] -> the same."""
        *qkv, residual = self.project(tokens).chunk(4, dim=2)
        query, key, value = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in qkv)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return torch.relu(mixed + residual)


def pair_products(tokens: Tensor) -> Tensor:
    """Sum of the element-wise products of every two different tokens, in linear time: float [N, F, d] -> [N, d]."""
    return 0.5 * (tokens.sum(1).square() - tokens.square().sum(1))


def check_heads(setting: str, heads: Any, width: int) -> None:
    """Refuse heads that do not part the tokens evenly.

    Raises:
        ConfigError: names the setting.
    """
    check_whole(setting, heads)
    if heads < 1 or width % heads:
        expected = f"a divisor of the tokens' width {width}"
        raise ConfigError(setting, expected, heads, "choose another number of heads or model.dim")


def check_summable(setting: str, field_dim: int, dim: int) -> None:
    """Refuse fields that are narrower or wider than the vectors that their sum is part of.

    Raises:
        ConfigError: names the setting that sums them.
    """
    if field_dim != dim:
        expected = f"{dim} (= model.dim), since {setting} sums the field embeddings"
        raise ConfigError("model.field_dim", expected, field_dim, "leave it out, or choose another encoder")
