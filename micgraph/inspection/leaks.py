"""What a graph knows of the part of a split that is held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from micgraph.graph.leakage import among_clicks
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation, locate
from micgraph.graph.split import Holdout
from micgraph.ids import IdMap
from micgraph.schema import CLICKS, ITEM_ID, TIMESTAMP, USER_ID, InputError

EXAMPLES = 5


@dataclass(frozen=True)
class Leaks:
    """Held-out clicks (the targets of a part of a split) beside a graph.

    Attributes:
        kind, part: of the split, such as "temporal" and "test".
        same_split: whether the graph was built from the training part of this very split; None where the graph does not
            say what it was built from.
        clicks: held-out clicks.
        in_graph: of them, those that are clicks of the graph: same user, item and second.
        examples: (user id, item id, seconds since 1970) of the first few of those.
        repeats: held-out clicks of a user on an item that he clicks in the graph at any time.
        users, unknown_users: held-out users, and those the graph does not have.
        items, unknown_items: items of held-out clicks, and those the graph does not have.
        on_unknown: held-out clicks on items that the graph does not have.
        first: the first held-out click, in seconds since 1970 UTC.
        graph_clicks: clicks of the graph.
        later: of them, those in a later second than :attr:`first`.
        later_same_user: clicks of the graph in a later second than the same user's own first held-out click.
        seconds: int64 [clicks], when the held-out clicks are, since 1970 UTC.
    """

    kind: str
    part: str
    same_split: bool | None
    clicks: int
    in_graph: int
    examples: tuple[tuple[Any, Any, int], ...]
    repeats: int
    users: int
    unknown_users: int
    items: int
    unknown_items: int
    on_unknown: int
    first: int
    graph_clicks: int
    later: int
    later_same_user: int
    seconds: NDArray[np.int64]

    @property
    def leaking(self) -> bool:
        """Whether the graph tells what it should not.

        That is a held-out click itself, or a later click of the same user; after a temporal split also of anybody else,
        whose clicks the other splits leave in the graph whenever they are.
        """
        return bool(self.in_graph or self.later_same_user or (self.kind == "temporal" and self.later))


def leaks(graph: RecGraph, holdout: Any) -> Leaks:
    """Compare a graph with what was held out.

    Args:
        graph: with its external ids.
        holdout: a Holdout, one part of a split such as ``split.test``, or the directory of a saved one.

    Raises:
        ArtifactError: the directory is missing, damaged or no holdout.
        InputError: no holdout but a whole split, say, or one without targets; or a graph without ids.
    """
    held_out = Holdout.load(holdout) if isinstance(holdout, str | Path) else holdout
    if not isinstance(held_out, Holdout):
        got = f"a {type(holdout).__name__}"
        raise InputError("holdout", "a Holdout, one part of a split", got, "pass split.test or split.valid")
    if graph.users is None or graph.items is None:
        raise InputError("graph", "a graph with its external ids", "one without", "load it where pyarrow is installed")
    targets = held_out.targets.arrow()
    if not len(targets):
        raise InputError("holdout", "at least one target", "none", "choose a longer test window or other fractions")
    user, item = graph.users.index(targets[USER_ID]), graph.items.index(targets[ITEM_ID])
    second = targets[TIMESTAMP].to_numpy() // 1_000_000
    clicks = graph.relation(CLICKS)
    exact, at_all = among_clicks(clicks, user, item, second - graph.epoch)
    shown = np.flatnonzero(exact)[:EXAMPLES]
    ids = [targets[name].take(shown).to_pylist() for name in (USER_ID, ITEM_ID)]
    manifest = held_out.manifest
    return Leaks(
        kind=manifest["kind"],
        part=manifest["part"],
        same_split=None if graph.manifest is None else graph.manifest["split"] == manifest["split"],
        clicks=len(targets),
        in_graph=int(exact.sum()),
        examples=tuple(zip(*ids, second[shown].tolist(), strict=True)),
        repeats=int(at_all.sum()),
        users=len(IdMap.build(targets[USER_ID])),
        unknown_users=_unknown(targets[USER_ID], user),
        items=len(IdMap.build(targets[ITEM_ID])),
        unknown_items=_unknown(targets[ITEM_ID], item),
        on_unknown=int((item < 0).sum()),
        first=int(second.min()),
        graph_clicks=clicks.n_edges,
        later=_later(clicks, int(second.min()) - graph.epoch),
        later_same_user=_later_of_users(clicks, user, second - graph.epoch),
        seconds=second,
    )


def _unknown(ids: Any, index: NDArray[np.int64]) -> int:
    """Distinct ids whose number is -1."""
    import pyarrow as pa

    return len(IdMap.build(ids.filter(pa.array(index < 0))))


def _later(clicks: Relation, second: int) -> int:
    if clicks.time is None:
        return 0
    return int(np.count_nonzero(clicks.time.cpu().numpy() > np.int64(second)))


def _later_of_users(clicks: Relation, user: NDArray[np.int64], second: NDArray[np.int64]) -> int:
    """Clicks later than their user's first held-out one; ``second`` [S] of the held-out clicks of ``user`` [S]."""
    known = user >= 0
    if clicks.time is None or not known.any():
        return 0
    rows, place = np.unique(user[known], return_inverse=True)
    first = np.full(len(rows), np.iinfo(np.int64).max)
    np.minimum.at(first, place, second[known])
    at = torch.from_numpy(rows).to(clicks.device)
    begin = locate(clicks, at, torch.from_numpy(first + 1).to(clicks.device))  # the first click of a later second
    return int((clicks.indptr[at + 1] - begin).sum())
