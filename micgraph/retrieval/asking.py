"""What callers ask for, in their words: settings of the fusion, channels, lengths of lists, people and items."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from micgraph.config import parse
from micgraph.graph.recgraph import RecGraph
from micgraph.ids import IdMap
from micgraph.knn import Ragged
from micgraph.retrieval import frames
from micgraph.retrieval.channels import Allowed, ChannelName, Queries
from micgraph.retrieval.extra import known
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.histories import rows_of
from micgraph.retrieval.limits import joined, limits
from micgraph.retrieval.retriever import Retriever
from micgraph.schema import ConfigError, InputError

_BRING = "pass what the person clicked as histories=[[...]]"
_LOG = logging.getLogger(__name__)


class Asked(NamedTuple):
    """Who is asked about, batch by batch, and what may come.

    Attributes:
        ids: [B], what the users are called.
        batches: the same users, encoded.
        channels: those that answer.
        allowed: the only items for everybody, or None.
    """

    ids: pa.Array
    batches: Iterator[Queries]
    channels: tuple[ChannelName, ...]
    allowed: Allowed | None


def fusion_of(run: FusionConfig, fusion: Any) -> FusionConfig:
    """A fusion given whole, by a mapping of what differs from the run's, or not at all (None).

    Raises:
        ConfigError: an unknown setting, a value out of range, or no settings at all.
    """
    if isinstance(fusion, Mapping):
        return parse(FusionConfig, {**asdict(run), **fusion}, "fusion")
    if fusion is not None and not isinstance(fusion, FusionConfig):
        remedy = 'name what differs, such as {"fusion": "rrf"}'
        raise ConfigError("fusion", "a FusionConfig or a mapping of settings", repr(fusion), remedy)
    return run if fusion is None else fusion


def channels_of(given: str | Iterable[str], every: tuple[ChannelName, ...]) -> tuple[ChannelName, ...]:
    """``"all"`` that there are, or those named, in the order of :func:`micgraph.retrieval.extra.known`.

    Raises:
        InputError: none, or an unknown one.
    """
    wanted: tuple[Any, ...] = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if wanted == ("all",):
        return every
    if not wanted or not all(name in known() for name in wanted):
        raise InputError("channels", "'all' or some of " + ", ".join(known()), repr(given), "name channels of these")
    return tuple(name for name in known() if name in wanted)


def check_k(k: int, available: int) -> None:
    """Refuse a length of lists that cannot be had.

    Raises:
        InputError: no whole number from 1 to ``available``.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= available:
        remedy = "ask for fewer items, or allow more"
        raise InputError("k", f"a number from 1 to {available}, which is all that can be found", repr(k), remedy)


def graph_ids(graph: RecGraph) -> tuple[IdMap, IdMap]:
    """The external ids of a graph's users and items.

    Raises:
        InputError: it was loaded without them.
    """
    if graph.users is None or graph.items is None:
        remedy = "load it where pyarrow is installed"
        raise InputError("run", "a graph with external ids", "a graph without them", remedy)
    return graph.users, graph.items


def asked_of(
    retriever: Retriever,
    users: Any,
    k: int,
    histories: Any = None,
    fields: Any = None,
    channels: str | Iterable[str] = "all",
    filter_seen: bool = True,
    candidates: Any = None,
    exclude: Any = None,
) -> Asked:
    """What ``Recommender.recommend`` is called with, checked; users are encoded as they are taken.

    Raises:
        UnknownIdError, InputError: see there.
    """
    graph = retriever.graph
    known_users, items = graph_ids(graph)
    names = channels_of(channels, retriever.config.channels)
    if not isinstance(filter_seen, bool | np.bool_):
        raise InputError("filter_seen", "True or False", repr(filter_seen), "pass one of the two")
    ids, number, seen = _people(retriever, known_users, items, users, histories)
    may = limits(retriever, items, candidates, exclude, len(number))
    check_k(k, may.available)
    encoded = frames.fields_of(fields, graph, known_users, len(number))
    left_out = joined(seen if filter_seen else None, may.exclude)
    return Asked(ids, retriever.encode(seen, number, encoded, left_out, may.only), names, may.allowed)


def _people(
    retriever: Retriever, known_users: IdMap, items: IdMap, users: Any, histories: Any
) -> tuple[pa.Array, Tensor, Ragged]:
    """External ids, internal numbers and whole histories of those who are asked for."""
    if (users is None) == (histories is None):
        got = "neither" if users is None else "both"
        remedy = "name users of the graph, or bring histories of anybody"
        raise InputError("users, histories", "one of the two", got, remedy)
    if histories is not None:
        seen, unknown = frames.histories_of(histories, items)
        if unknown:
            known = items.describe()
            _LOG.warning(
                "histories: %d of %d items are unknown to the graph, which has %s", unknown, len(seen.items), known
            )
        return pa.array(range(seen.n_rows), pa.int64()), torch.full((seen.n_rows,), -1), seen
    if retriever.reading is not None:
        return retriever.reading.people(users, f"observe a click of the person first, or {_BRING}")
    remedy = f"{_BRING}; or open the recommender with store=, which serves whomever it has observed"
    number = torch.from_numpy(frames.known(known_users, users, "users", remedy))
    return known_users.ids(number.numpy()), number, rows_of(retriever.clicks, number)
