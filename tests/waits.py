"""The programs of a GPU, run on the CPU, and a count of what would have the CPU wait for a GPU."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from micgraph import rng
from micgraph.graph import membership, reading, relation, tickets
from micgraph.sampling import khop, local, nodes, samples
from micgraph.tasks import channel

ATEN = torch.ops.aten
SIZES = {ATEN.nonzero, ATEN._unique2, ATEN.unique_dim, ATEN.unique_consecutive, ATEN.masked_select, ATEN.bincount}
VALUES = {ATEN._local_scalar_dense, ATEN.is_nonzero, ATEN.equal}


class Waits(TorchDispatchMode):
    """Operations whose result's size depends on data, and data read by Python."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, packet = kwargs or {}, func.overloadpacket
        if packet in SIZES | VALUES:
            self.found[packet.__name__] += 1
        elif packet in (ATEN.index, ATEN.index_put, ATEN.index_put_, ATEN._index_put_impl_):
            self.found["mask as index"] += any(i is not None and i.dtype == torch.bool for i in args[1])
        elif packet == ATEN.repeat_interleave and kwargs.get("output_size") is None:
            self.found["repeat_interleave"] += 1
        return func(*args, **kwargs)


class Lists(TorchFunctionMode):
    """``tolist`` passes no dispatcher."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.waits.found["tolist"] += func is torch.Tensor.tolist
        return func(*args, **(kwargs or {}))


def waits_of(call: Any) -> Counter[str]:
    with Waits() as waits, Lists(waits):
        call()
    return +waits.found


def as_on_a_gpu(patch: pytest.MonkeyPatch) -> None:
    """Let tensor programs do what compiled loops do on the CPU."""
    for module in (relation, tickets, membership, samples):
        patch.setattr(module, "search", reading._search_by_tensors)
    patch.setattr(rng, "_bits_compiled", rng._bits_by_tensors)
    patch.setattr(reading, "_stretch_compiled", reading._stretch_by_tensors)
    patch.setattr(relation, "_between_compiled", relation._between_by_tensors)
    patch.setattr(samples.Samples, "_of_clicks_compiled", _cut)
    patch.setattr(local, "_distinct_compiled", local._distinct_by_tensors)
    patch.setattr(local, "_places_compiled", local._places_by_tensors)
    patch.setattr(samples, "second_start", lambda rel, rows, eid: relation.locate(rel, rows, rel.time[eid]))
    patch.setattr(khop, "_choose_compiled", khop._choose_by_tensors)
    patch.setattr(nodes.SharedNodes, "_compiled", nodes.SharedNodes._by_tensors)
    patch.setattr(membership, "_compiled", _members)
    patch.setattr(tickets, "_by_compiled", _drawn)
    patch.setattr(channel, "_spare_found", channel._spare_equal)


def _cut(self: Any, pick: Any) -> Any:
    row, target = self._of_clicks(pick)
    stop = self._before(row, target)
    return row, target, torch.maximum(self.clicks.indptr[row], stop - self.history), stop


def _members(rel: Any, rows: Any, cols: Any) -> Any:
    return (membership._by_search if rel.time is None else membership._by_table)(rel, rows, cols)


def _drawn(*arguments: Any) -> Any:
    return (tickets._by_tensors if arguments[-1] else tickets._distinct_by_tensors)(*arguments)
