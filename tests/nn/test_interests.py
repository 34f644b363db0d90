"""ComiRec's two encoders against loops written from the published equations."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from micgraph.nn.interests import ComiRecDR, ComiRecSA, prefix_attention, squash
from micgraph.nn.query import QueryInput
from micgraph.nn.towers import ModelConfig, TwoTower
from micgraph.schema import ConfigError
from tests.toy import item_fields, user_fields

D, T, K, W = 6, 5, 3, 4
LENGTHS = (5, 1, 3, 0)


def some_query(seed: int = 0, user_width: int = W) -> QueryInput:
    torch.manual_seed(seed)
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    return QueryInput(torch.randn(4, T, D), torch.zeros(0, 1, D), mask, torch.randn(4, user_width))


def softmax(scores: list[float]) -> list[float]:
    top = max(scores)
    weights = [math.exp(s - top) for s in scores]
    return [w / sum(weights) for w in weights]


def test_self_attention_is_one_softmax_over_time_for_each_interest() -> None:
    """ComiRec Eqs. for SA: A = softmax(tanh((H + P) W1) W2) over time, V = A^T H; the values have no positions."""
    query, encoder = some_query(), ComiRecSA(D, W, T, K).eval()
    first, _, second = encoder.attention
    assert first.out_features == 4 * D and second.out_features == K
    found = encoder(query)
    assert found.shape == (4, K, D)
    for b, length in enumerate(LENGTHS):
        items = [query.vectors[b, t] for t in range(length)]
        logits = [
            second.weight @ torch.tanh(first.weight @ (v + encoder.place[t]) + first.bias) for t, v in enumerate(items)
        ]
        for k in range(K):
            want = encoder.user.weight @ query.user[b] + encoder.user.bias
            if length:
                share = softmax([float(x[k].detach()) for x in logits])
                want = want + sum(s * v for s, v in zip(share, items, strict=True))
            torch.testing.assert_close(found[b, k], want)


def test_self_attention_reads_the_order_but_adds_no_position_to_values() -> None:
    encoder = ComiRecSA(D, 0, T, K).eval()
    one = torch.randn(D).expand(1, T, D)
    query = QueryInput(one, torch.zeros(0, 1, D), torch.ones(1, T, dtype=torch.bool), torch.zeros(1, 0))
    torch.testing.assert_close(encoder(query), one[:, :1].expand(1, K, D))
    query = some_query(user_width=0)
    back = QueryInput(query.vectors.flip(1), query.fields, query.mask, query.user)
    assert not torch.allclose(encoder(query)[0], encoder(back)[0], atol=1e-3)


@given(st.integers(1, 6), st.integers(1, 3), st.sampled_from([0.0, 1.0, 30.0, 59.0, 200.0, 3e4]), st.integers(0, 2**31))
def test_prefix_attention_is_a_softmax_of_each_prefix(length: int, interests: int, spread: float, seed: int) -> None:
    """Also where a later weight is so large that a running sum after one shift would lose the earlier ones."""
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.rand(2, length, interests, generator=generator) - 0.5) * spread
    values = torch.randn(2, length, 3, generator=generator)
    found = prefix_attention(logits, values)
    for b in range(2):
        for t in range(length):
            for k in range(interests):
                share = softmax(logits[b, : t + 1, k].tolist())
                want = [sum(share[s] * float(values[b, s, j]) for s in range(t + 1)) for j in range(3)]
                assert found[b, t, k].tolist() == pytest.approx(want, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("spread", [1.0, 55.0, 150.0])
def test_gradients_of_prefix_attention_are_those_of_the_softmaxes(spread: float) -> None:
    climb = torch.linspace(-spread, 0, T)[None, :, None].expand(2, T, K) + torch.randn(2, T, K) * 0.1
    values, upstream = torch.randn(2, T, D), torch.randn(2, T, K, D)
    gradients = []
    for double in (False, True):
        kind = torch.float64 if double else torch.float32
        x, v = (y.to(kind).clone().requires_grad_() for y in (climb, values))
        found = prefix_attention(x, v) if not double else _by_prefix(x, v)
        (found * upstream.to(kind)).sum().backward()
        gradients.append((x.grad, v.grad))
    for fast, slow in zip(*gradients, strict=True):
        assert torch.isfinite(fast).all()
        torch.testing.assert_close(fast.double(), slow, rtol=1e-3, atol=1e-4)


def _by_prefix(logits: Tensor, values: Tensor) -> Tensor:
    steps = [torch.einsum("bsk,bsd->bkd", logits[:, : t + 1].softmax(1), values[:, : t + 1]) for t in range(T)]
    return torch.stack(steps, dim=1)


def squashed(x: Tensor) -> Tensor:
    n = float(x.detach().norm())
    return x * (n**2 / (1 + n**2) / n) if n else x


def routed(encoder: ComiRecDR, items: list[Tensor]) -> tuple[list[list[float]], list[list[Tensor]]]:
    """What the third iteration gives of each vote to each interest, and the votes: loops over ComiRec's Alg. 1."""
    votes = [[v @ encoder.weight[t, :, k * D : (k + 1) * D] for k in range(K)] for t, v in enumerate(items)]
    logits = [[0.0] * K for _ in items]
    for _ in range(2):
        share = [softmax(row) for row in logits]
        for k in range(K):
            capsule = squashed(sum((share[t][k] * votes[t][k].detach() for t in range(len(items))), torch.zeros(D)))
            for t in range(len(items)):
                logits[t][k] += float(votes[t][k].detach() @ capsule)
    return [softmax(row) for row in logits], votes


def test_dynamic_routing() -> None:
    query, encoder = some_query(), ComiRecDR(D, W, T, K).eval()
    assert encoder.weight.shape == (T, D, K * D)
    found = encoder(query)
    uneven = []
    for b, length in enumerate(LENGTHS):
        share, votes = routed(encoder, [query.vectors[b, t] for t in range(length)])
        uneven += [abs(s - 1 / K) for row in share for s in row]
        for k in range(K):
            total = sum((share[t][k] * votes[t][k] for t in range(length)), torch.zeros(D))
            want = squashed(total) + encoder.user.weight @ query.user[b] + encoder.user.bias
            torch.testing.assert_close(found[b, k], want, rtol=1e-4, atol=1e-5)
    assert max(uneven) > 0.1, "the routing has moved"


def test_no_gradient_flows_through_the_first_two_iterations() -> None:
    """The gradient is that of the last sum with its shares taken as plain numbers."""
    encoder, vectors, upstream = ComiRecDR(D, 0, T, K), torch.randn(1, T, D), torch.randn(K, D)
    given = vectors.clone().requires_grad_()
    query = QueryInput(given, torch.zeros(0, 1, D), torch.ones(1, T, dtype=torch.bool), torch.zeros(1, 0))
    (encoder(query)[0] * upstream).sum().backward()
    got = (encoder.weight.grad.clone(), given.grad[0])
    encoder.zero_grad()
    free = vectors[0].clone().requires_grad_()
    share, votes = routed(encoder, list(free))
    for k in range(K):
        (squash(sum(share[t][k] * votes[t][k] for t in range(T))) * upstream[k]).sum().backward(retain_graph=True)
    torch.testing.assert_close(got[0], encoder.weight.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got[1], free.grad, rtol=1e-4, atol=1e-5)


def test_squash_keeps_the_direction_and_stays_below_length_one() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-3, 4e-3]], requires_grad=True)
    y = squash(x)
    torch.testing.assert_close(y[0], torch.tensor([0.6, 0.8]) * 25 / 26)
    assert torch.equal(y[1], torch.zeros(2)) and float(y[2].norm().detach()) == pytest.approx(2.5e-5, rel=1e-3)
    y.sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("encoder", ["comirec_sa", "comirec_dr"])
def test_a_number_of_interests_that_makes_no_sense_is_refused(encoder: str) -> None:
    for wrong in (0, -1, "four"):
        with pytest.raises(ConfigError, match=r"model\.options\.interests"):
            TwoTower(ModelConfig(encoder=encoder, options={"interests": wrong}), item_fields(3), user_fields(3))
