"""SASRec against loops written from the paper's equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from micgraph.nn.attention import SASRec
from micgraph.nn.query import QueryInput
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.schema import ConfigError
from tests.toy import item_fields, user_fields

D, T, W = 6, 5, 4
LENGTHS = (5, 1, 3)


def some_query(user_width: int = W) -> QueryInput:
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    return QueryInput(torch.randn(3, T, D), torch.zeros(0, 1, D), mask, torch.randn(3, user_width))


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return layer.weight @ x + layer.bias


def normed(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    mean = sum(x.tolist()) / D
    variance = sum((v - mean) ** 2 for v in x.tolist()) / D
    return (x - mean) / math.sqrt(variance + 1e-5) * layer.weight + layer.bias


def attended(queries: list[Tensor], keys: list[Tensor], values: list[Tensor], t: int) -> Tensor:
    """Softmax over the places 0..t of q . k / sqrt(width), of the values."""
    scores = [math.exp(float(queries[t] @ keys[s]) / math.sqrt(len(keys[s]))) for s in range(t + 1)]
    return sum(w / sum(scores) * values[s] for s, w in enumerate(scores))


def states(encoder: SASRec, items: list[Tensor], heads: int) -> list[Tensor]:
    x = [math.sqrt(D) * v + encoder.place[t] for t, v in enumerate(items)]
    for block in encoder.blocks:
        mixed = [linear(block.project, normed(block.norms[0], v)) for v in x]
        parts = [[m[i * D : (i + 1) * D].chunk(heads) for m in mixed] for i in range(3)]  # query, key, value
        for t in range(len(x)):
            seen = [attended(*([p[h] for p in part] for part in parts), t) for h in range(heads)]
            x[t] = x[t] + linear(block.mix, torch.cat(seen))
        first, _, _, second = block.feed
        x = [v + linear(second, torch.relu(linear(first, normed(block.norms[1], v)))) for v in x]
    return [normed(encoder.norm, v) for v in x]


@pytest.mark.parametrize("heads", [1, 2])
def test_every_position_and_the_whole_history(heads: int) -> None:
    query, encoder = some_query(), SASRec(D, W, T + 2, dropout=0.5, heads=heads).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        everywhere, last = encoder.positions(query), encoder(query)
        assert everywhere.shape == (3, T, D)
        for b, length in enumerate(LENGTHS):
            user = linear(encoder.user, query.user[b])
            want = states(encoder, [query.vectors[b, t] for t in range(length)], heads)
            for t in range(length):
                torch.testing.assert_close(everywhere[b, t], want[t] + user, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(last[b], want[-1] + user, rtol=1e-4, atol=1e-4)


def test_nothing_is_learned_from_padding() -> None:
    query, encoder = some_query(user_width=0), SASRec(D, 0, T)
    vectors = query.vectors.clone().requires_grad_()
    encoder(QueryInput(vectors, query.fields, query.mask, query.user)).square().sum().backward()
    reached = vectors.grad.abs().sum(2) > 0
    assert torch.equal(reached, query.mask)


def test_dropout_acts_in_training_only_and_on_the_attention_too() -> None:
    torch.manual_seed(0)
    query, encoder = some_query(), SASRec(D, W, T, dropout=0.5)
    assert not torch.allclose(encoder(query), encoder(query))
    encoder.eval()
    assert torch.equal(encoder(query), encoder(query))
    block = encoder.blocks[0]
    x = torch.randn(2, T, D)
    clean = block._attend(x)
    block.train()
    assert not torch.allclose(block._attend(x), clean)


@pytest.mark.parametrize("options", [{"heads": 3}, {"heads": 0}, {"heads": 2.0}, {"blocks": 0}, {"blocks": "two"}])
def test_values_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match=r"model\.options"):
        TwoTower(ModelConfig(encoder="sasrec", dim=16, options=options), item_fields(3), user_fields(3))


@pytest.mark.parametrize("heads", [4, 2.0, True])
def test_heads_are_a_whole_divisor(heads: float) -> None:
    with pytest.raises(ConfigError, match=r"model\.options\.heads"):
        SASRec(D, heads=heads)  # type: ignore[arg-type]
