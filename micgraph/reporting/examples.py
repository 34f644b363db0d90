"""Example users: what they clicked, what they went on to click, and what each run recommends to them and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from micgraph.evaluation import EvalData
from micgraph.graph.recgraph import RecGraph
from micgraph.retrieval.channels import CHANNELS
from micgraph.retrieval.explaining import label
from micgraph.retrieval.fusion import Lists
from micgraph.retrieval.recommender import Recommender

USERS, RECALLS, LATEST = 4, 10, 10
"""Users, items recommended to each, and clicks of a history that are shown."""


@dataclass(frozen=True)
class Recall:
    """An item of a list.

    Attributes:
        item: its number in the graph.
        channels: that found it, such as "U2I, I2I", or "popular".
        reason: in words.
        hit: whether the user went on to click it.
    """

    item: int
    channels: str
    reason: str
    hit: bool


Example = tuple[Recall, ...]
"""One user's list, best first."""


def drawn_rows(n_users: int, seed: int) -> Tensor:
    """The example users: int64 [e], drawn from all of them at random, whatever their lists are."""
    order = torch.randperm(n_users, generator=torch.Generator().manual_seed(seed))
    return order[:USERS].sort().values


def recalls(recommender: Recommender, data: EvalData, rows: Tensor, filter_seen: bool) -> tuple[Example, ...]:
    """What a run recommends to the users ``rows`` int64 [e] of ``data``.

    Args:
        recommender: of the run.
        data: the held-out events.
        rows: the example users.
        filter_seen: whether their lists leave out what they have clicked.
    """
    retriever, histories = recommender.retriever, data.histories.pick(rows)
    queries = next(retriever.encode(histories, data.users[rows], exclude=histories if filter_seen else None))
    lists = retriever.lists(queries, RECALLS)
    hits = data.clicks.pick(rows).contains(lists.items.cpu())
    return tuple(_example(lists, at, hits[at], retriever.graph) for at in range(len(rows)))


def _example(lists: Lists, at: int, hits: Tensor, graph: RecGraph) -> Example:
    listed = [(place, int(item)) for place, item in enumerate(lists.items[at]) if item >= 0]
    return tuple(Recall(item, *_why(lists, at, place, graph), bool(hits[place])) for place, item in listed)


def _why(lists: Lists, at: int, place: int, graph: RecGraph) -> tuple[str, str]:
    """The channels that found the item at a place, and what brought it most."""
    fused = lists.fused
    if int(fused.items[at, place]) < 0:
        return "popular", "clicked most; the channels gave no more"
    named = ", ".join(label(name) for n, name in enumerate(fused.names) if bool(fused.held[at, n, place]))
    channel, node = fused.names[int(fused.trigger.channel[at, place])], int(fused.trigger.node[at, place])
    if channel == "i2i":
        return named, f"near {graph.titles([node])[0]}"
    if channel not in CHANNELS:
        return named, f"found by {channel}" + (f", because of {graph.titles([node])[0]}" if node >= 0 else "")
    if channel == "u2u":
        who = str(node) if graph.users is None else str(graph.users.ids([node])[0].as_py())
        return named, f"clicked by the similar user {who}"
    return named, "near the user's own vector"
