"""Channels of a user's own beside U2I, U2U and I2I: registered by name, made for a graph, checked when they answer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from micgraph.registration import Names, call
from micgraph.retrieval.channels import CHANNELS, Allowed, Candidates, ChannelName, Queries, permitted
from micgraph.schema import ConfigError, InputError

GIVEN = ("graph", "clicks", "category", "items", "index", "device")
"""What a channel may ask for by naming it, all on ``device``: the graph; its clicks, user -> item; int64 [N], the
items' categories; float32 [N, d'], their own vectors; the index of the vectors that U2I searches."""

OWN: Names[Callable[..., Any]] = Names("channel", reserved=(*CHANNELS, "all", "popular", "fused"))


def register_channel(name: str, channel: Callable[..., Any]) -> None:
    """Let ``fusion.channels`` and ``recommend(channels=...)`` name a channel of your own; ``docs/own-channel.md`` shows
    one.

    What it finds joins the candidates of the others. In Eq. 3 each of its candidates counts as one occurrence, as a
    similar user's click does, and it is scored by Eq. 5 as all are; ``rrf`` and ``quotas`` read its list by descending
    weight. ``learned`` refuses it. It is no default: name it in ``fusion.channels``. Lists are then made by tensor
    programs on the CPU too, in the place of the compiled loops.

    Args:
        name: letters, digits and underscores.
        channel: a class, or a function that makes its object, called once a graph with those of ``graph``, ``clicks``,
            ``category``, ``items``, ``index`` and ``device`` that its signature names. The object's ``find(queries)``
            takes :class:`micgraph.retrieval.channels.Queries` and gives ``Candidates``; items that a user must not get
            are left out of them afterwards.

    Raises:
        ConfigError: a name that is taken or none at all, or a class without ``find``.
    """
    if not callable(channel) or (isinstance(channel, type) and not callable(getattr(channel, "find", None))):
        got = channel.__name__ if isinstance(channel, type) else f"a {type(channel).__name__}"
        raise ConfigError(f"channel {name}", "a class with find(queries)", got, "see docs/own-channel.md")
    OWN.add(name, channel, channel)


def known() -> tuple[ChannelName, ...]:
    """Every channel that may be named."""
    return (*CHANNELS, *OWN)


def laid_out(channels: Collection[ChannelName]) -> tuple[ChannelName, ...]:
    """In which order counts and places of some channels lie: MIC's three, asked or not, then the user's own."""
    return (*CHANNELS, *(name for name in channels if name not in CHANNELS))


def modules(channels: Collection[ChannelName]) -> dict[str, str]:
    """The module of each own channel among these: what is saved, so that a loader can say what to import."""
    found = {name: OWN.module_of(name) for name in channels}
    return {name: module for name, module in found.items() if module is not None}


def require(saved: dict[str, str]) -> None:
    """Refuse saved channels that are not registered here.

    Args:
        saved: by name the module that registered it, as :func:`modules` gave it.

    Raises:
        ConfigError: names the module to import.
    """
    for name, module in saved.items():
        OWN.require(name, module, "fusion.channels")


@dataclass(frozen=True)
class Extra:
    """A channel of the user's, whose answers are checked and left without what a user must not get.

    Attributes:
        name: its name.
        channel: the user's object.
        n_items: N.
    """

    name: str
    channel: Any
    n_items: int

    @classmethod
    def of(cls, name: str, source: Any) -> Extra:
        """Make the one that is registered under a name, for the graph of a retriever.

        Raises:
            ConfigError: its signature has other names than :data:`GIVEN` without a default, or it has no ``find``.
        """
        make = OWN[name]
        wanted = signature(make).parameters
        asked = (f"channel {name}", f"a signature with some of {', '.join(GIVEN)}", "see docs/own-channel.md")
        made = call(make, {what: getattr(source, what) for what in GIVEN if what in wanted}, asked=asked)
        if not callable(getattr(made, "find", None)):
            got = f"a {type(made).__name__} without one"
            raise ConfigError(f"channel {name}", "an object with find(queries)", got, "see docs/own-channel.md")
        return cls(name, made, source.graph.n_items)

    def find(self, queries: Queries, allowed: Allowed | None = None) -> Candidates:
        """See :meth:`micgraph.retrieval.channels.Channel.find`.

        Raises:
            InputError: no candidates, of other shapes or types, or items that there are not.
        """
        found = self.channel.find(queries)
        self._check(found, len(queries))
        return permitted(found, queries, allowed)

    def _check(self, found: Any, size: int) -> None:
        kinds = {"items": torch.int64, "mask": torch.bool, "weight": torch.float32, "trigger": torch.int64}
        remedy = "build them by Candidates.of(items, weight, trigger)"
        if not isinstance(found, Candidates):
            raise InputError(f"channel {self.name}", "Candidates", f"a {type(found).__name__}", remedy)
        shape = found.items.shape
        for name, kind in kinds.items():
            part: Tensor = getattr(found, name)
            if part.dtype != kind or part.shape != shape or len(shape) != 2 or shape[0] != size:
                expected = f"{name} as {kind} [{size}, C], like all its parts"
                raise InputError(f"channel {self.name}", expected, f"{part.dtype} {list(part.shape)}", remedy)
        if bool((found.mask & ((found.items < 0) | (found.items >= self.n_items))).any()):
            expected = f"items from 0 to {self.n_items - 1}, and -1 for none"
            raise InputError(f"channel {self.name}", expected, "others", remedy)
        if bool((found.mask & ~torch.isfinite(found.weight)).any()):
            raise InputError(f"channel {self.name}", "finite weights", "infinite ones or NaN", remedy)
