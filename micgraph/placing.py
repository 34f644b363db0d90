"""Where a training runs: on which device, and together with which other processes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from micgraph.ranks import Ranks, join, local_rank
from micgraph.schema import ConfigError

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.presets import RunConfig


def device_of(name: str) -> torch.device:
    """The device of a name, on a machine with several processes each its own GPU.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    local = local_rank()
    if name == "cuda" and local is not None:
        name = f"cuda:{local}"
        if local >= torch.cuda.device_count():
            got = f"{torch.cuda.device_count()} for process {local} of this machine"
            raise ConfigError("device", "a GPU for every process", got, "start fewer processes, or pass device='cpu'")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch raises either, by the way in which it was built
        got = f"{name!r} ({str(error).splitlines()[0]})"
        remedy = "write it as 'cuda'" if str(name).lower().startswith("gpu") else "choose another device"
        raise ConfigError("device", "auto, cpu or a device that torch finds", got, remedy) from error


def joined(target: torch.device, out: str | Path | None) -> Ranks:
    """The processes of this training; several need a directory, which is told before they wait for each other.

    Raises:
        ConfigError: they have none.
        RankError: the others cannot be reached.
    """
    remedy = "pass out=, a directory that every process sees"
    missing = ConfigError("out", "a directory, for several processes", "none", remedy)
    if out is None and local_rank() is not None:
        raise missing
    ranks = join(target)
    if out is None and ranks.size > 1:  # in a process group that the caller has made
        raise missing
    return ranks


def agree(ranks: Ranks, out: str | Path | None, config: RunConfig, graph: RecGraph) -> None:
    """Refuse processes that would not train the same model on the same graph into the same directory.

    Raises:
        ConfigError: says what differs.
    """
    if ranks.size == 1:
        return
    own = {"out": str(out), "settings": repr(config), "graph": graph.fingerprint()}
    first = ranks.told(own)
    differing = [name for name in own if own[name] != first[name]]
    if differing:
        remedy = "start every process with the same script"
        raise ConfigError("ranks", "the same arguments in every process", f"other {', '.join(differing)}", remedy)
