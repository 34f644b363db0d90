"""Why an item is at its place in a list: one row of recommendations in words, with the numbers that make its score."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from micgraph.ids import IdMap
from micgraph.knn import Ragged
from micgraph.retrieval import frames
from micgraph.retrieval.asking import Asked, asked_of, graph_ids
from micgraph.retrieval.channels import CHANNELS, Allowed, ChannelName, Queries
from micgraph.retrieval.fusion import Fused, FusionConfig, Lists, fitted, turns
from micgraph.retrieval.learned import FEATURES, features
from micgraph.retrieval.pool import Pool
from micgraph.retrieval.retriever import Retriever
from micgraph.schema import InputError, did_you_mean

ARGUMENTS = ("histories", "fields", "channels", "filter_seen", "candidates", "exclude")
"""Of ``recommend``, beside users and k."""
LABELS: dict[ChannelName, str] = {"u2i": "U2I", "u2u": "U2U", "i2i": "I2I"}


@dataclass(frozen=True)
class Row:
    """One row of one user's list.

    Attributes:
        retriever: what made the list.
        queries: the user, B = 1.
        lists: his list.
        channels: those that were asked.
        allowed: which items could be found; None where all.
        at: the row, from 0.
        names: of users and items: two functions from internal numbers to text.
    """

    retriever: Retriever
    queries: Queries
    lists: Lists
    channels: Collection[ChannelName]
    allowed: Allowed | None
    at: int
    names: tuple[Any, Any]

    @property
    def config(self) -> FusionConfig:
        """The fusion that made the list."""
        return self.retriever.config

    @property
    def item(self) -> int:
        """The internal number of the row's item."""
        return int(self.lists.items[0, self.at])


def explain(retriever: Retriever, user: Any, item: Any, k: int, **asked: Any) -> str:
    """See :meth:`micgraph.Recommender.explain`."""
    users, items = graph_ids(retriever.graph)
    if strange := [name for name in asked if name not in ARGUMENTS]:
        remedy = did_you_mean(strange[0], ARGUMENTS, "leave it out")
        raise InputError(strange[0], f"one of {', '.join(ARGUMENTS)}, as recommend takes them", "another name", remedy)
    number = int(frames.known(items, [item], "item", "ask for an item of the list")[0])
    found = asked_of(retriever, None if user is None else [user], k, **asked)
    queries = next(found.batches)
    if len(queries) != 1:
        raise InputError("histories", "one person", f"{len(queries)} people", "explain them one by one")
    lists = retriever.lists(queries, k, found.channels, found.allowed)
    listed = lists.items[0].tolist()
    if number not in listed:
        alone = {name: one for name, one in asked.items() if name not in ("candidates", "exclude")}
        seen = next(asked_of(retriever, None if user is None else [user], 1, **alone).batches).exclude
        got, remedy = _missing(found, queries, number, _in(seen, number))
        raise InputError("item", f"one of the {k} items of the list", f"{item!r}, which {got}", remedy)
    names = (lambda at: _text(users, at), lambda at: _text(items, at))
    row = Row(retriever, queries, lists, found.channels, found.allowed, listed.index(number), names)
    return "\n".join([in_words(row), *_degraded(row)])


def _degraded(row: Row) -> list[str]:
    """Why the list is marked as degraded, as a line; nothing where it is not."""
    if not bool(row.lists.degraded[0]):
        return []
    fused, reading = row.lists.fused, row.retriever.reading
    silent = [LABELS[name] for at, name in enumerate(CHANNELS) if name in row.channels and not int(fused.found[0, at])]
    popular = int(((fused.items[0] < 0) & (row.lists.items[0] >= 0)).sum())
    short = int((row.lists.items[0] < 0).sum())
    why = [f"{' and '.join(silent)} found nothing"] if silent else []
    why += ["live clicks could not be read"] if reading is not None and reading.error is not None else []
    why += [f"{popular} of its items are popular ones that fill up"] if popular else []
    why += [f"{short} items are missing, for no more may be recommended"] if short else []
    return [f"The list is degraded: {'; '.join(why)}."]


def _missing(found: Asked, queries: Queries, number: int, seen: bool) -> tuple[str, str]:
    """Why an item is not in a list, and what to do; ``seen``: whether it is left out as one of the history."""
    if seen:
        return "the history has: it is left out as seen", "pass filter_seen=False, to recommend as well"
    refused = found.allowed is not None and not bool(found.allowed.mask[number])
    if refused or _in(queries.exclude, number) or (queries.only is not None and not _in(queries.only, number)):
        return "candidates= or exclude= leave out", "allow it there"
    return "is not among them", "ask for an item that recommend gives, or for a larger k"


def _in(lists: Ragged | None, number: int) -> bool:
    return lists is not None and bool((lists.items == number).any())


def in_words(row: Row) -> str:
    """The row in words, a line for each channel and one for the score."""
    name, k = row.names[1](row.item), row.lists.items.shape[1]
    head = f"{name} is at place {row.at + 1} of {k}"
    fused = row.lists.fused
    if int(fused.items[0, row.at]) < 0:
        given, clicks = int((fused.items >= 0).sum()), int((row.retriever.clicks.col == row.item).sum())
        return f"{head}: a popular item ({clicks:,} clicks), for the channels gave {given:,} items."
    lines = [f"{head}, score {_at(fused.score, row):.6f}."]
    ways = row.retriever.ways(row.channels, k)
    for channel in fused.names:
        if channel in ways:
            found = ways[channel].find(row.queries, row.allowed)
            here = (found.items[0] == row.item) & found.mask[0]
            lines.append(f"{label(channel)}: {_channel(row, channel, found.weight[0, here], found.trigger[0, here])}.")
    return "\n".join([*lines, _score(row)])


def _channel(row: Row, channel: ChannelName, weight: Tensor, trigger: Tensor) -> str:
    """What a channel says of the item: similarities float [n] of what brought it, and users or items int64 [n]."""
    fused, number = row.lists.fused, row.lists.fused.names.index(channel)
    if channel == "u2i":
        place = int(fused.place[0, 0, row.at])
        score = f"score {_at(fused.basic, row):.6f}"
        return f"at place {place + 1} of its list, {score}" if place >= 0 else f"not in its list, {score}"
    if not len(weight):
        return "does not bring it"
    if channel not in CHANNELS:
        return _own(row, weight, int(trigger[weight.argmax()]))
    best = row.names[number - 1](int(trigger[weight.argmax()]))
    some = len(torch.unique(trigger))
    if channel == "u2u":
        by = f"{some} similar user{'s' * (some > 1)} clicked it {_times(len(weight))}, the most similar {best}"
    else:
        by = f"neighbour of {some} of the latest clicks, {_times(len(weight))}, most of {best}"
    text = f"{by} ({float(weight.max()):.6f}); similarities add up to {float(weight.sum()):.6f}"
    if not bool(fused.held[0, number, row.at]):
        text += f"; not among the {row.config.k2 if channel == 'u2u' else row.config.k3} items that it keeps"
    return text


def _own(row: Row, weight: Tensor, trigger: int) -> str:
    """What a channel of the user's own says: weights float [n], and the item behind the largest one or -1."""
    because = f", because of {row.names[1](trigger)}" if trigger >= 0 else ""
    return f"brings it {_times(len(weight))}{because}; weights add up to {float(weight.sum()):.6f}"


def label(channel: ChannelName) -> str:
    """What people read of a channel: U2I and the like, or the name of one of the user's own."""
    return LABELS.get(channel, channel)


def _score(row: Row) -> str:
    """The sum that the score is."""
    fused, config = row.lists.fused, row.config
    base, score = _at(fused.base, row), _at(fused.score, row)
    if config.fusion == "quotas":
        shares = zip(fused.names, turns(config.quotas, fused.names), strict=True)
        quotas = ", ".join(f"{label(name)} {x:g}" for name, x in shares)
        return f"Quotas: the best of each channel in turn ({quotas}); score 1 / {row.at + 1} = {score:.6f}."
    if config.fusion == "rrf":
        c, places = config.rrf_constant, fused.place[0, :, row.at].tolist()
        terms = [f"1 / ({c:g} + {p + 1}) of {label(n)}" for n, p in zip(fused.names, places, strict=True) if p >= 0]
        return f"Reciprocal ranks: {' + '.join(terms)} = {score:.6f}."
    other = _others(row)
    share = other / max(row.at, 1)
    last = f"{config.lambda_div:g} * {share:.6f} ({other} of {row.at} items before it of another category)"
    if config.fusion == "learned":
        return f"Log-odds: {_odds(row)} = {base:.6f}.\nScore: {base:.6f} + {last} = {score:.6f}."
    count = int(fused.count[0, :, row.at].sum())
    middle = f"{config.lambda_mic:g} * {_at(fused.share, row):.6f} (found {_times(count)}, Eq. 3)"
    which = "cosine" if config.basic == "cosine" else "U2I's score"
    return f"Eq. 5: {base:.6f} ({which}) + {middle} + {last} = {score:.6f}."


def _odds(row: Row) -> str:
    """The learned log-odds, a term for each feature."""
    model, fused = fitted(row.retriever.learned), row.lists.fused
    x = features(_alone(fused, row.at), fused.held[:, :, row.at, None], fused.basic[:, row.at, None])[0, 0].tolist()
    rows = zip(model.names, model.mean, model.scale, model.weight, strict=True)
    return " + ".join(f"{(x[FEATURES.index(name)] - mean) / scale * w:.6f} ({name})" for name, mean, scale, w in rows)


def _alone(fused: Fused, at: int) -> Pool:
    """A pool of one candidate."""
    one = slice(at, at + 1)
    trigger = type(fused.trigger)(*(x[:, one] for x in fused.trigger))
    items, rank = fused.items[:, one], fused.place[:, 0, one]
    return Pool(items, items >= 0, fused.count[:, :, one], fused.weight[:, :, one], rank, trigger)


def _others(row: Row) -> int:
    """How many items before this one are of another category."""
    category = row.retriever.category[row.lists.items[0, : row.at + 1]]
    return int((category[:-1] != category[-1]).sum())


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _at(values: Tensor, row: Row) -> float:
    return float(values[0, row.at])


def _text(ids: IdMap, number: int) -> str:
    return str(ids.ids(np.array([number]))[0])
