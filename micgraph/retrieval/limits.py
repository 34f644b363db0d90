"""What may be recommended: ids that callers allow or refuse, for everybody or one list a user."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from micgraph.ids import IdMap, as_array, kind_of
from micgraph.knn import Ragged
from micgraph.retrieval import frames
from micgraph.retrieval.channels import Allowed
from micgraph.retrieval.retriever import Retriever
from micgraph.schema import InputError

FEW = 1000
"""Refused for everybody, up to so many items are left out user by user; more by a search among all others."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What B users may get.

    Attributes:
        allowed: the only items for everybody, or None.
        only: the only items of each user, ascending, or None.
        exclude: items that each user must not get, or None.
        available: how many items there are at least for each of them, but for what they have clicked.
    """

    allowed: Allowed | None
    only: Ragged | None
    exclude: Ragged | None
    available: int


def limits(retriever: Retriever, items: IdMap, candidates: Any, exclude: Any, n: int) -> Limits:
    """Limits of ``n`` users from ids, or lists of ids of each; unknown ones are counted in a warning.

    Raises:
        InputError: no candidate is left to somebody, lists of another number of users, or ids of another type to
            exclude.
    """
    wanted, refused = _lists(candidates, "candidates", items, n), _lists(exclude, "exclude", items, n)
    own_refused = refused if isinstance(refused, Ragged) else None
    never = torch.unique(refused) if isinstance(refused, Tensor) else torch.zeros(0, dtype=torch.int64)
    if isinstance(wanted, Ragged):
        only = _without(wanted, never)
        return Limits(None, only, own_refused, _least(only, own_refused))
    if wanted is None and len(never) <= FEW:
        for_all = Ragged(torch.arange(n + 1) * len(never), never.repeat(n)) if len(never) else None
        return Limits(None, None, joined(own_refused, for_all), len(items) - len(never))
    among = torch.arange(len(items)) if wanted is None else torch.unique(wanted)
    among = among[~torch.isin(among, never)]
    if not len(among):
        raise InputError("candidates", "at least one item that is not excluded", "none", "exclude fewer items")
    return Limits(retriever.allow(among), None, own_refused, len(among))


def joined(*lists: Ragged | None) -> Ragged | None:
    """The lists of the same users put together, row by row."""
    given = [one for one in lists if one is not None]
    if len(given) < 2:
        return given[0] if given else None
    device = given[0].items.device
    given = [one.to(device) for one in given]
    order = torch.sort(torch.cat([one.owner() for one in given]), stable=True).indices
    indptr = torch.stack([one.indptr for one in given]).sum(0)
    return Ragged(indptr, torch.cat([one.items for one in given])[order])


def _lists(given: Any, argument: str, items: IdMap, n: int) -> Tensor | Ragged | None:
    """Numbers of known items: for all, int64 [C], or of each user."""
    if given is None:
        return None
    if not _nested(given):
        ids = frames.as_list(given)
        index = torch.from_numpy(items.index(ids)) if len(ids) else torch.zeros(0, dtype=torch.int64)
        _check_kind(ids, argument, items)
        if argument == "candidates" and not bool((index >= 0).any()):
            got = f"{len(ids)} unknown ids" if len(ids) else "an empty list"
            raise InputError(argument, "at least one item of the graph", got, "pass None to allow every item")
        return _known(index, argument)
    rows, _ = frames.histories_of(given, items, argument)
    if rows.n_rows != n:
        remedy = "pass one list of ids for everybody, or one a user in their order"
        raise InputError(argument, f"{n} lists", f"{rows.n_rows} lists", remedy)
    _check_kind([one for row in frames.plain(given) for one in row], argument, items)
    _known(rows.items, argument)
    kept = _kept(rows, rows.items >= 0)
    empty = (kept.indptr.diff() == 0).nonzero()[:, 0]
    if argument == "candidates" and len(empty):
        got = f"none for user {int(empty[0])}, counted from 0"
        raise InputError(argument, "at least one item of the graph for every user", got, "leave such users out")
    return kept


def _check_kind(ids: Any, argument: str, items: IdMap) -> None:
    """Refuse ids of another type, none of which the graph can have."""
    array = as_array(ids)
    if len(array) > array.null_count and kind_of(array.type) != items.kind:
        raise InputError(argument, items.describe(), kind_of(array.type), "convert the ids: 7 and '7' are two")


def _nested(given: Any) -> bool:
    """Whether there are lists of ids, and not ids."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return False
    return any(not isinstance(one, str | bytes) and hasattr(one, "__len__") for one in frames.plain(given))


def _known(index: Tensor, argument: str) -> Tensor:
    unknown = int((index < 0).sum())
    if unknown:
        _LOG.warning("%s: %d of %d items are unknown to the graph", argument, unknown, len(index))
    return index[index >= 0]


def _without(lists: Ragged, never: Tensor) -> Ragged:
    """The distinct items of each list, ascending, without those of ``never``."""
    width = 1 + int(lists.items.max())
    key = torch.unique(lists.owner() * width + lists.items)
    counts = torch.bincount(key // width, minlength=lists.n_rows)
    distinct = Ragged(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), key % width)
    return _kept(distinct, ~torch.isin(distinct.items, never))


def _kept(lists: Ragged, mask: Tensor) -> Ragged:
    """The items where ``mask`` bool [S] is true."""
    ends = torch.cat([mask.new_zeros(1, dtype=torch.int64), mask.cumsum(0)])[lists.indptr]
    return Ragged(ends, lists.items[mask])


def _least(lists: Ragged, refused: Ragged | None) -> int:
    """The length of the shortest list, without what its user must not get."""
    if refused is not None and len(refused.items) and len(lists.items):
        width = 1 + max(int(one.items.max()) for one in (lists, refused))
        keys = [one.owner() * width + one.items for one in (lists, refused)]
        lists = _kept(lists, ~torch.isin(*keys))
    return int(lists.indptr.diff().min())
