"""Several processes that train one model: how they meet, what they tell each other, and what ends them.

They share nothing but gradients and vectors: every process makes the same batches (see
:mod:`micgraph.sampling.batch`), and each is started alike, by torchrun or with the same environment variables.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from micgraph.schema import ConfigError, MicgraphError, RankError

PATIENCE = timedelta(days=7)
"""How long processes wait for what the first one does alone, such as validation. A process that has been killed ends
the waiting at once, since its connections are closed."""

LOST = ("gloo", "NCCL", "Connection", "connection", "peer", "Broken pipe", "Socket", "TCPStore", "process group")
"""What errors of a lost connection say; torch raises most of them as plain RuntimeErrors."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training run, as one of them sees it.

    Attributes:
        rank: its own number, counted from 0; the first one writes and validates.
        size: how many there are.
        control: the group in which they wait for the first one, on the CPU.
        own: the process group was made for this training, and is closed when it fails.
    """

    rank: int = 0
    size: int = 1
    control: Any = None
    own: bool = False

    @property
    def first(self) -> bool:
        """Whether this process writes and validates."""
        return self.rank == 0

    def told(self, value: Any) -> Any:
        """What the first process says, by way of JSON; the others' ``value`` is not read. All wait for it."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode() if self.first else b""
        length = torch.tensor(len(text))
        dist.broadcast(length, 0, group=self.control)
        content = torch.tensor(list(text), dtype=torch.uint8) if self.first else torch.empty(int(length)).byte()
        dist.broadcast(content, 0, group=self.control)
        return json.loads(bytes(content.tolist()))

    def gathered(self, own: Tensor, sizes: list[int]) -> Tensor:
        """The rows of every process, one process after the other.

        Every process must go on to compute the same of them: what goes back is its own rows' gradient times ``size``,
        without another word among the processes.

        Args:
            own: float [n, ...], the rows of this process.
            sizes: how many rows each process has.
        """
        return own if self.size == 1 else _Gathered.apply(own, self.rank, sizes)

    def summed(self, own: Tensor) -> Tensor:
        """The sum over the processes, of which ``own`` is a part; its gradient is that of ``own`` times ``size``."""
        if self.size == 1:
            return own
        total = own.detach().clone()
        dist.all_reduce(total)
        slope = own * self.size
        return total + (slope - slope.detach())

    def parallel(self, module: nn.Module, unused: bool = False) -> nn.Module:
        """The module as one whose gradients become the mean over the processes.

        Args:
            module: with the same weights in every process.
            unused: some weights may have no gradient in some steps.
        """
        if self.size == 1:
            return module
        with warnings.catch_warnings():  # newer releases of torch name it otherwise, older ones know no other name
            warnings.filterwarnings("ignore", ".*broadcast_buffers", FutureWarning)
            return nn.parallel.DistributedDataParallel(
                module,
                broadcast_buffers=False,  # they are mined alike by every process, and change their sizes
                find_unused_parameters=unused,
                gradient_as_bucket_view=True,
            )

    @contextmanager
    def together(self) -> Iterator[None]:
        """Turn what torch raises when another process is gone into one error that says what to do. Whatever goes wrong
        in this process, the others do not wait for it any more.

        Raises:
            RankError: a process has ended, or cannot be reached.
        """
        try:
            yield
        except BaseException as error:
            if self.own:
                # a DDP that outlives its group would free it, and wait for threads that wait for the interpreter
                traceback.clear_frames(error.__traceback__)
                gc.collect()
                _leave()
            if self.size == 1 or not _lost(error):
                raise
            got = f"process {self.rank} lost another one ({str(error).splitlines()[0]})"
            remedy = "see what the others say; the same command again goes on from the last checkpoint"
            raise RankError("ranks", f"{self.size} processes to the end", got, remedy) from error


ALONE = Ranks()


def local_rank() -> int | None:
    """Which process of this machine this one is, None where it trains alone."""
    return int(os.environ.get("LOCAL_RANK", 0)) if _asked() else None


def join(device: torch.device) -> Ranks:
    """The processes that were started together: one, unless torch's process group exists or ``WORLD_SIZE`` says more.

    A group that is made here lasts as long as the process.

    Raises:
        ConfigError: the environment variables of torchrun are incomplete.
        RankError: the others cannot be reached.
    """
    if not _asked():
        return ALONE
    if device.type == "cuda":
        torch.cuda.set_device(device)
    own = not dist.is_initialized()
    if own:
        _start("nccl" if device.type == "cuda" else "gloo")
    return Ranks(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=PATIENCE), own)


def _leave() -> None:
    """Close this process's connections, so that no other one waits for it."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _lost(error: BaseException) -> bool:
    if not isinstance(error, RuntimeError) or isinstance(error, MicgraphError):
        return False
    return isinstance(error, dist.DistError) or any(word in str(error) for word in LOST)


def _asked() -> bool:
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size() > 1
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def _start(backend: str) -> None:
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        remedy = "start the script by torchrun, or unset WORLD_SIZE"
        raise ConfigError("WORLD_SIZE", "RANK, MASTER_ADDR and MASTER_PORT beside it", f"no {missing}", remedy)
    dist.init_process_group(backend)
    atexit.register(_leave)


class _Gathered(torch.autograd.Function):
    """All rows forward; a part of the gradient, ``size`` times, back."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, rank: int, sizes: list[int]) -> Tensor:
        ctx.own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
        ctx.ranks, widest = len(sizes), max(sizes)
        padded = own.new_zeros(widest, *own.shape[1:])
        padded[: len(own)] = own
        every = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(every, padded)
        return torch.cat([one[:size] for one, size in zip(every, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return grad[ctx.own] * ctx.ranks, None, None
