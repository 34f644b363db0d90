"""Counter-based random numbers: a value depends on (key, sample, slot) and on nothing else.

So a batch is the same on CPU and GPU, after a resume, and however the samples are spread over processes.
The mixing function is SplitMix64's finaliser: on the CPU a compiled loop, elsewhere wrapping int64 arithmetic.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX2 = -7723592293110705685  # 0x94D049BB133111EB
_SAMPLE = -2960836687051489853  # 0xD6E8FEB86659FDC3 as the stride of samples
_LOW32 = 0xFFFFFFFF


def make_key(*parts: int | str) -> int:
    """A 63-bit key from any words and numbers, such as ``make_key(seed, "negatives", epoch)``."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_torch(key: int, device: torch.device) -> None:
    """Seed what torch draws, such as dropout, on the CPU and on a device; ``torch.manual_seed`` seeks out every one."""
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.manual_seed(key)


def bits(key: int, sample: Tensor, slots: int) -> Tensor:
    """32 random bits for each (sample, slot).

    Args:
        key: from :func:`make_key`.
        sample: int64 [B], the samples' own numbers (not their places in the batch).
        slots: how many values each sample gets.

    Returns:
        int64 [B, slots] in [0, 2**32).
    """
    return (_bits_compiled if sample.device.type == "cpu" else _bits_by_tensors)(key, sample.long(), slots)


def _bits_compiled(key: int, sample: Tensor, slots: int) -> Tensor:
    from micgraph import rng_kernel

    found = torch.empty(len(sample), slots, dtype=torch.int64)
    rng_kernel.bits(np.uint64(key), sample.numpy(), found.numpy())
    return found


def _bits_by_tensors(key: int, sample: Tensor, slots: int) -> Tensor:
    slot = torch.arange(1, slots + 1, device=sample.device, dtype=torch.int64)
    state = _mix(sample * _SAMPLE + key)
    return _mix(state[:, None] + slot[None, :] * _GOLDEN) & _LOW32


def uniform(key: int, sample: Tensor, slots: int) -> Tensor:
    """float32 [B, slots] in [0, 1), with 24 random bits each, so that every value is exact."""
    return (bits(key, sample, slots) >> 8).to(torch.float32) * 2.0**-24


def integers(key: int, sample: Tensor, slots: int, high: Tensor | int) -> Tensor:
    """int64 [B, slots] in [0, high); ``high`` is a number or int64 broadcastable to [B, slots], at most 2**31."""
    return (bits(key, sample, slots) * high) >> 32


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _MIX1
    z = (z ^ _shift(z, 27)) * _MIX2
    return z ^ _shift(z, 31)


def _shift(z: Tensor, by: int) -> Tensor:
    """Logical right shift: int64's own one copies the sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)
