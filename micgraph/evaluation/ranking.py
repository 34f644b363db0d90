"""Judging a ranker: lists for every test user, checked, measured and averaged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from micgraph import metrics
from micgraph.evaluation.data import EvalData
from micgraph.evaluation.popularity import deciles
from micgraph.evaluation.result import DECILES, METRICS, Result
from micgraph.knn import Ragged
from micgraph.progress import progress_bar
from micgraph.schema import InputError

BLOCK = 2048
"""Users ranked at a time."""
COLD = 5
"""Items with fewer clicks in the graph, and users with fewer in their history, are cold."""


Kinds = Literal["category", "tags"]


class Ranker(Protocol):
    """Whatever makes a list of items from a history: models and baselines alike."""

    @property
    def name(self) -> str: ...

    def rank(self, histories: Ragged, users: Tensor, k: int, exclude: Ragged | None = None) -> Tensor:
        """Rank items for B users.

        Args:
            histories: B rows of item indices, oldest first, -1 where the graph does not know the item; a row may be
                empty.
            users: int64 [B], index in the graph or -1.
            k: length of the lists.
            exclude: items that each user must not get.

        Returns:
            int64 [B, k], best first, no item twice in a row, -1 where fewer than k items are left.
        """
        ...


def evaluate_ranker(
    ranker: Ranker,
    data: EvalData,
    ks: Sequence[int],
    filter_seen: bool = True,
    new_only: bool = False,
    diversity: Kinds = "category",
) -> Result:
    """Rank for every test user and measure.

    Args:
        ranker: anything with ``name`` and ``rank``.
        data: from :func:`prepare`.
        ks: lengths at which lists are cut. Beyond the number of items that can be ranked a list simply ends, so that
            every longer cut has that list's metrics.
        filter_seen: exclude the whole history from the lists. A target that is in the history then stays in the
            denominators, as a miss; ``new_only`` leaves it out.
        new_only: judge only clicks on items that are new to their user.
        diversity: when two items of a list differ: by their ``category``, of which each item has one, or by their
            ``tags``, when they share none (DECISIONS 30).

    Raises:
        InputError: no cuts, or one that is no whole number above 0; diversity by tags that the graph does not have; or
            the ranker returns another shape, an item that does not exist, an item twice, or an excluded one.
    """
    data = data.only_new() if new_only else data
    cuts, kinds = _cuts(ks), _kinds(data, diversity)
    parts: dict[str, list[Tensor]] = {}
    shown = torch.zeros(len(cuts), data.n_items, dtype=torch.bool)
    for begin in progress_bar(range(0, len(data), BLOCK), desc=f"lists of {ranker.name}"):
        end = min(begin + BLOCK, len(data))
        seen = data.histories.rows(begin, end)
        exclude = seen if filter_seen else None
        top = ranker.rank(seen, data.users[begin:end], cuts[-1], exclude).cpu()
        _check_lists(top, ranker.name, (end - begin, cuts[-1]), data.n_items, exclude)
        for name, measured in _measure(top, data.clicks.rows(begin, end), data, kinds, cuts).items():
            parts.setdefault(name, []).append(measured)
        for at, k in enumerate(cuts):
            shown[at, top[:, :k][top[:, :k] >= 0]] = True
    per_user, weights = _weighted({name: torch.cat(part) for name, part in parts.items()}, data)
    means = {name: (w[:, None] * per_user[name]).double().sum(0) / w.double().sum() for name, w in weights.items()}
    means["coverage"] = shown.double().mean(1)
    flat = {f"{name}@{k}": float(means[name][at]) for name in METRICS if name in means for at, k in enumerate(cuts)}
    values = {name: value for name, value in flat.items() if not math.isnan(value)}  # a list of one has no pairs
    settings: dict[str, bool | str] = {"filter_seen": filter_seen, "new_only": new_only, "diversity": diversity}
    return Result(ranker.name, tuple(cuts), settings, values, per_user, weights, data.counts, data.manifest)


def _cuts(ks: Sequence[Any]) -> list[int]:
    given = list(ks) if isinstance(ks, Iterable) else [None]
    whole = [int(k) for k in given if isinstance(k, (int, np.integer)) and not isinstance(k, bool)]
    if len(whole) < len(given) or min(whole, default=0) < 1:
        raise InputError("ks", "whole numbers above 0, at least one", repr(ks), "pass them as ks=(20, 50)")
    return sorted(set(whole))


def _kinds(data: EvalData, diversity: str) -> Tensor | None:
    """What diversity goes by; None where all items have the same, so that it would say nothing."""
    kinds = {"category": data.category, "tags": data.tags}.get(diversity)
    if kinds is None:
        expected = "category, or tags where the items have a column of several"
        raise InputError("diversity", expected, repr(diversity), "take category, or give the items a column tags")
    return kinds if bool((kinds != kinds[:1]).any()) else None


def _measure(top: Tensor, clicks: Ragged, data: EvalData, kinds: Tensor | None, ks: Sequence[int]) -> dict[str, Tensor]:
    measured = {
        "recall": metrics.recall(top, clicks, ks),
        "hr": metrics.hit_rate(top, clicks, ks),
        "ndcg": metrics.ndcg(top, clicks, ks),
        "ndcg_hits": metrics.ndcg_hits(top, clicks, ks),
        "hit": metrics.hit_per_click(top, clicks, ks).float(),
        "hit_cold_items": metrics.hit_per_click(top, _only(clicks, _cold(clicks.items, data)), ks).float(),
    }
    by_decile = metrics.hit_by_group(top, clicks, _decile(clicks.items, data), len(DECILES), ks)
    measured |= dict(zip(DECILES, by_decile.float().unbind(1), strict=True))
    if kinds is not None:
        measured["diversity"] = metrics.diversity(top, kinds, ks)
    return measured


def _weighted(raw: Mapping[str, Tensor], data: EvalData) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Per-user values and weights such that every metric is a weighted mean over users."""
    ones = torch.ones(len(data))
    per_user, weights = dict(raw), dict.fromkeys(raw, ones)
    clicks, known = data.clicks.indptr.diff(), _clicks_of(data.clicks.items, data) > 0
    cold = _only(data.clicks, _cold(data.clicks.items, data)).indptr.diff()
    counted = {"hit": clicks, "hit_known": _only(data.clicks, known).indptr.diff(), "hit_cold_items": cold}
    decile = _decile(data.clicks.items, data)
    counted |= {name: _only(data.clicks, decile == at).indptr.diff() for at, name in enumerate(DECILES)}
    for name, count in counted.items():
        weights[name] = count.float()
        per_user[name] = raw.get(name, raw["hit"]) / count.clamp(min=1)[:, None]
    per_user["hit_cold_users"] = per_user["hit"]
    known_past = _only(data.histories, data.histories.items >= 0).indptr.diff()
    weights["hit_cold_users"] = weights["hit"] * (known_past < COLD)
    if "diversity" in raw:
        listed = ~raw["diversity"].isnan().all(1)
        weights["diversity"] = listed.float()
        per_user["diversity"] = raw["diversity"].where(listed[:, None], 0)
    return per_user, weights


def _cold(items: Tensor, data: EvalData) -> Tensor:
    """Whether an item is one that the graph knows, from fewer than COLD clicks: bool, of the shape of ``items``."""
    return (_clicks_of(items, data) < COLD) & (items < data.n_items)


def _clicks_of(items: Tensor, data: EvalData) -> Tensor:
    """Clicks in the graph, 0 for items that it does not know: int64, of the shape of ``items``."""
    return torch.cat([data.item_clicks, torch.tensor([0])])[items.clamp(max=data.n_items)]


def _decile(items: Tensor, data: EvalData) -> Tensor:
    """The place of an item's popularity in DECILES, -1 for items that the graph does not know: int64, as ``items``."""
    return torch.cat([deciles(data.item_clicks), torch.tensor([-1])])[items.clamp(max=data.n_items)]


def _only(rows: Ragged, kept: Tensor) -> Ragged:
    """The same rows with only the items where ``kept`` is true."""
    before = torch.cat([kept.new_zeros(1).long(), kept.long().cumsum(0)])
    return Ragged(before[rows.indptr], rows.items[kept])


def _check_lists(top: Tensor, name: str, shape: tuple[int, int], n_items: int, exclude: Ragged | None) -> None:
    argument = f"rankings of {name}"
    if tuple(top.shape) != shape or top.dtype != torch.int64:
        raise InputError(argument, f"int64 {list(shape)}", f"{top.dtype} {list(top.shape)}", "pad lists with -1")
    if top.numel() and (int(top.min()) < -1 or int(top.max()) >= n_items):
        got = f"{int(top.min())} to {int(top.max())}"
        raise InputError(argument, f"items 0 to {n_items - 1}, or -1", got, "return indices of the graph's items")
    if bool((metrics.repeated(top) & (top >= 0)).any()):
        raise InputError(argument, "every item once a list", "an item twice", "make the lists distinct")
    if exclude is not None and bool(exclude.contains(top).any()):
        raise InputError(argument, "no excluded item", "an item of the history", "leave out what exclude names")
