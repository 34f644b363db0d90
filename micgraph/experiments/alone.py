"""Each channel alone beside all of them fused: the views of such a table, and what each has to choose among."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from micgraph.experiments.row import FUSED, View
from micgraph.retrieval.channels import ChannelName

SIMILAR_USERS = ({"m1": 40, "m2": 60}, {"m1": 100, "m2": 100})
"""How many users U2U asks, and for how many clicks each: MIC's sizes, and four times as many clicks."""
NEIGHBOURS = (100, 300)
"""How many neighbours of each click I2I takes."""
READ = ["u2i_score", "u2i_rank", "i2i_weight", "i2i_count"]
BY_RANK = {"fusion": "rrf"}
EQ_5: tuple[dict[str, Any], ...] = (
    {},
    {"basic": "score", "lambda_div": 0.0},
    {"basic": "score", "count_scale": "log", "lambda_div": 0.0},
    {"basic": "score", "count_scale": "log", "lambda_div": 0.0, "lambda_mic": 5.0},
)


def channel_views(neighbors: Sequence[str], clicks: int) -> tuple[View, ...]:
    """The views of a row that compares the channels: U2I, U2U and I2I, and all three fused against each of them.

    Each view takes what is best for it on validation data. U2I has nothing to choose: its order is that of the search,
    and it gives as many items as are asked for. U2U and I2I choose their sizes, I2I its neighbours, and both the order
    of what they find: by the similarity of what brought an item times the user's cosine with it, as MIC has it (2.8),
    or by the similarity alone. Popular items fill up what a channel leaves open, as in the fused list.

    Args:
        neighbors: kinds of neighbours that the data allows.
        clicks: how many of the latest clicks I2I reads.
    """
    found = [{"neighbors": kind, "m": clicks, "m3": m3} for kind in neighbors for m3 in NEIGHBOURS]
    few = [one for one in found if one["m3"] == NEIGHBOURS[0]]
    fused = [*EQ_5, {"fusion": "quotas"}, *_each(few, BY_RANK, _learned(READ)), *_each(found, _learned(None))]
    return (
        View(", U2I", against=()),
        _alone("u2u", SIMILAR_USERS),
        _alone("i2i", found),
        View(FUSED.label, FUSED.channels, against=(", U2I", ", U2U", ", I2I"), fusions=tuple(fused)),
    )


def _alone(channel: ChannelName, sizes: Iterable[Mapping[str, Any]]) -> View:
    """One channel, of these sizes, in either order."""
    orders = (BY_RANK, _learned([f"{channel}_weight"]))
    return View(f", {channel.upper()}", (channel,), against=(), fusions=tuple(_each(sizes, *orders)))


def _each(sizes: Iterable[Mapping[str, Any]], *ways: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**size, **way} for size in sizes for way in ways]


def _learned(names: list[str] | None) -> dict[str, Any]:
    return {"fusion": "learned", "lambda_div": 0.0, "learn_from": names}
