"""Co-occurrence counted again, for the items of changed sessions only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from micgraph.graph.baskets import Baskets, distinct_baskets
from micgraph.graph.cooccurrence import co_occurrences
from micgraph.graph.relation import Relation, spans
from micgraph.graph.splice import renumbered, some_rows


def changed_sessions(old: Relation, old_user: Tensor, new: Relation, new_user: Tensor) -> Tensor:
    """Which new sessions have no equal among the old ones: the clicks of an old one that is gone are in some of them.

    Args:
        old, new: session -> item, in the same numbers and with times since the same second. A user clicks an item at
            most once a second, and every click is in one session.
        old_user, new_user: int64 [S], whose they are.

    Returns:
        bool [S new].
    """
    assert old.time is not None and new.time is not None
    first, second = old.indptr[:-1], new.indptr[:-1]
    keys = ((old_user, new_user), (old.col[first], new.col[second]), (old.time[first], new.time[second]))
    rows = np.stack([torch.cat(pair).numpy().astype(np.int64) for pair in keys], axis=1)
    number = torch.from_numpy(np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1))
    at = torch.full((len(rows),), -1)
    at[number[: old.n_rows]] = torch.arange(old.n_rows)
    match = at[number[old.n_rows :]]  # the session of the other side with the same first click
    both = torch.nonzero(match >= 0).flatten()
    both = both[new.degree(both) == old.degree(match[both])]
    owner, theirs = spans(new.indptr[both], new.degree(both))
    ours = spans(old.indptr[match[both]], new.degree(both))[1]
    differs = (old.col[ours] != new.col[theirs]) | (old.time[ours] != new.time[theirs])
    equal = both[torch.bincount(owner[differs], minlength=len(both)) == 0]
    changed = torch.ones(new.n_rows, dtype=torch.bool)
    changed[equal] = False
    return changed


def recounted(
    contains: Relation, items: Tensor, order: Tensor, top_k: int | None = None, max_pairs: int | None = None
) -> Relation:
    """The rows of co-occurrence of some items, from all sessions that have any of them.

    Args:
        contains: session -> item, every session.
        items: bool [n items], the items; the rows of the others are empty.
        order: int64 [n items], items in the order by which ties are resolved.
        top_k, max_pairs: see :func:`co_occurrences` and :func:`distinct_baskets`.

    Returns:
        item -> item, as :func:`co_occurrences` gives it.
    """
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    met = np.logical_or.reduceat(items[contains.col.long()].numpy(), contains.indptr[:-1].numpy())
    sessions = some_rows(contains, torch.from_numpy(np.flatnonzero(met)))
    sessions = replace(sessions, col=place[sessions.col.long()].int())
    return renumbered(co_occurrences(_only(distinct_baskets(sessions, max_pairs), items[order]), top_k), order)


def _only(baskets: Baskets, items: Tensor) -> Baskets:
    """The baskets as only these items see them."""
    size, kept = np.diff(baskets.ptr), items.numpy()
    ptr = np.concatenate([[0], np.cumsum(np.where(kept, size, 0), dtype=np.int64)])
    return replace(baskets, ptr=ptr, spans=baskets.spans[np.repeat(kept, size)])
