"""The next batch is made while a step runs: by another stream on CUDA, by a thread where a core is free for one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from micgraph.sampling.plan import Batch

Make = Callable[[int], Batch]


@contextmanager
def prefetched(make: Make, steps: Sequence[int], device: torch.device) -> Iterator[Iterator[Batch]]:
    """The batches of some steps, in their order, each made while the step before it runs.

    On CUDA they are made on a stream of their own, so that what making them waits for is not the step. On the CPU a
    thread makes them where the process may use more cores than torch has threads: otherwise it would only take turns
    with the step. Nothing else depends on how they are made, and at the end no thread is left, whatever ended it.

    Args:
        make: gives the batch of a step, a function of the step alone; its errors are raised where the batch is taken.
        steps: the steps to come.
        device: where batches are made.
    """
    if device.type == "cuda":
        yield _by_stream(make, steps, device)
    elif device.type == "cpu" and _free_cores() > 0:
        with _thread() as pool:
            yield _by_thread(make, steps, pool)
    else:
        yield map(make, steps)


def _free_cores() -> int:
    """Cores that this process may use and that torch's threads leave free."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return usable - torch.get_num_threads()


@contextmanager
def _thread() -> Iterator[ThreadPoolExecutor]:
    """One thread, which has ended when this is left; what it has not begun is not begun any more."""
    pool = ThreadPoolExecutor(1, "micgraph-batches")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _by_thread(make: Make, steps: Sequence[int], pool: ThreadPoolExecutor) -> Iterator[Batch]:
    made: Future[Batch] | None = None
    for step in steps:
        following = pool.submit(make, step)
        if made is not None:
            yield made.result()
        made = following
    if made is not None:
        yield made.result()


def _by_stream(make: Make, steps: Sequence[int], device: torch.device) -> Iterator[Batch]:
    """A batch is asked for when the step before it has been launched, and is made beside it."""
    side, main = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    side.wait_stream(main)  # the epoch's order was made there
    for step in steps:
        with torch.cuda.stream(side):
            batch = make(step)
        main.wait_stream(side)
        for tensor in _tensors(batch):
            tensor.record_stream(main)  # its memory is not used again before the step has read it
        yield batch


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor of a batch."""
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for one in fields(value):
            yield from _tensors(getattr(value, one.name))
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner)
