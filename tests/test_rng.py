"""Counter-based random numbers: what must hold whatever the mixing function is."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from micgraph import rng


def splitmix(z: int) -> int:
    """SplitMix64's finaliser in Python's own integers."""
    low64 = (1 << 64) - 1
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & low64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & low64
    return z ^ (z >> 31)


@given(st.integers(0, 2**63 - 1), st.lists(st.integers(0, 2**62), min_size=1, max_size=4), st.integers(1, 4))
def test_bits_are_the_published_function(key: int, samples: list[int], slots: int) -> None:
    low64 = (1 << 64) - 1
    stride, golden = -2960836687051489853 & low64, 0x9E3779B97F4A7C15
    expected = []
    for sample in samples:
        state = splitmix((sample * stride + key) & low64)
        expected.append([splitmix((state + slot * golden) & low64) & 0xFFFFFFFF for slot in range(1, slots + 1)])
    for way in (rng.bits, rng._bits_by_tensors):
        assert way(key, torch.tensor(samples), slots).tolist() == expected


@given(st.permutations(range(6)), st.integers(1, 5))
def test_a_value_depends_on_its_sample_and_slot_only(order: list[int], slots: int) -> None:
    key, sample = rng.make_key(7, "negatives"), torch.arange(6) * 1000
    whole = rng.uniform(key, sample, 5)
    assert torch.equal(rng.uniform(key, sample[order], slots), whole[order][:, :slots])
    for i in range(6):
        assert torch.equal(rng.uniform(key, sample[i : i + 1], slots)[0], whole[i, :slots])


def test_keys_differ_by_every_part() -> None:
    keys = [
        rng.make_key(*parts) for parts in ((1, "a", 0), (1, "a", 1), (2, "a", 0), (1, "b", 0), ("1", "a", 0), (1, "a"))
    ]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**63 for key in keys)
    assert rng.make_key(1, "a", 0) == keys[0]
    assert not torch.equal(*(rng.bits(key, torch.arange(4), 4) for key in keys[:2]))


def test_uniform_in_every_direction() -> None:
    """Over samples, over slots, over keys, and for pairs of neighbours."""
    values = rng.uniform(rng.make_key("u"), torch.arange(4000), 10)
    assert values.dtype == torch.float32 and values.min() >= 0 and values.max() < 1
    by_key = torch.stack([rng.uniform(rng.make_key(k), torch.tensor([3]), 2)[0] for k in range(4000)])
    flat = values.flatten()
    pairs = [flat[:-1], flat[1:]], [values[:-1].flatten(), values[1:].flatten()], list(by_key.T)
    for a, b in pairs:
        cells = (a * 8).long() * 8 + (b * 8).long()
        assert chisquare(np.bincount(cells.numpy(), minlength=64)).pvalue > 1e-3
    assert chisquare(np.bincount((by_key.flatten() * 50).long().numpy(), minlength=50)).pvalue > 1e-3


def test_integers_are_uniform_below_high() -> None:
    high = torch.tensor([1, 3, 7, 2**31]).repeat(3000)[:, None]
    values = rng.integers(rng.make_key("i"), torch.arange(len(high)), 4, high)
    assert (values >= 0).all() and (values < high).all() and values.dtype == torch.int64
    for i, n in ((1, 3), (2, 7)):
        assert chisquare(np.bincount(values[i::4].flatten().numpy(), minlength=n)).pvalue > 1e-3
    wide = (values[3::4].flatten() >> 26).numpy()
    assert chisquare(np.bincount(wide, minlength=32)).pvalue > 1e-3


@given(st.integers(1, 2**31))
def test_integers_take_a_number_too(high: int) -> None:
    sample = torch.arange(5)
    as_tensor = rng.integers(3, sample, 2, torch.full((5, 1), high))
    assert torch.equal(rng.integers(3, sample, 2, high), as_tensor)
    assert (as_tensor >= 0).all() and (as_tensor < high).all()
