"""What a ranker reached on a holdout, and tables of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from micgraph.evaluation.popularity import N_DECILES
from micgraph.schema import InputError

METRICS: dict[str, str] = {
    "recall": "share of a user's distinct target items in his top k, mean over users",
    "hr": "share of users with any target in the top k",
    "ndcg": "standard NDCG, ideal list of min(k, targets) hits, mean over users",
    "ndcg_hits": "NDCG against an ideal list of as many hits as there are (ComiRec's; for comparison only)",
    "hit": "share of all test clicks whose item is in the user's top k; items unknown to the graph are misses",
    "hit_known": "the same over the clicks on items that have clicks in the graph",
    "hit_cold_items": "the same over the clicks on known items with fewer than 5 clicks in the graph",
    "hit_cold_users": "hit over the clicks of users with fewer than 5 events in their history",
    "coverage": "distinct items recommended to anybody / items of the graph",
    "diversity": "share of pairs in a list with different categories (or no tag in common), mean over users",
}
"""Name -> meaning of every metric that a :class:`Result` has a value of."""

DECILES = tuple(f"hit_decile_{number}" for number in range(1, N_DECILES + 1))
"""``hit`` over the clicks on items of one decile of popularity, the rarest first (see
:func:`micgraph.evaluation.popularity.deciles`): for :meth:`Result.column` and :meth:`Result.by_popularity`."""


@dataclass(frozen=True)
class Result:
    """What one ranker reached on one holdout.

    Attributes:
        name: the ranker's.
        ks: lengths at which lists were cut.
        settings: ``filter_seen``, ``new_only`` and what ``diversity`` goes by.
        values: ``"recall@20"`` and so on -> number; see :data:`METRICS`.
        per_user: metric -> float32 [B, len(ks)], for bootstraps over users.
        weights: metric -> float32 [B], what each user counts in the mean: his clicks for ``hit`` and its kind,
            whether he has a list for ``diversity``, 1 for the rest.
        counts: of the data.
        manifest: of the split.
    """

    name: str
    ks: tuple[int, ...]
    settings: dict[str, bool | str]
    values: dict[str, float]
    per_user: dict[str, Tensor]
    weights: dict[str, Tensor]
    counts: dict[str, int]
    manifest: dict[str, Any]

    def __getitem__(self, metric: str) -> float:
        if metric not in self.values:
            raise InputError("metric", f"one of {', '.join(self.values)}", metric, "name a metric and a cut")
        return self.values[metric]

    def column(self, metric: str) -> tuple[Tensor, Tensor]:
        """Per-user values float32 [B] of a metric such as ``"recall@20"``, and the users' weights float32 [B].

        Raises:
            InputError: no such metric, or lists were not cut there.
        """
        name, _, k = metric.partition("@")
        if name not in self.per_user or not k.isdigit() or int(k) not in self.ks:
            known = ", ".join(f"{m}@k" for m in self.per_user)
            raise InputError("metric", f"one of {known} with k in {list(self.ks)}", metric, "name such a metric")
        return self.per_user[name][:, self.ks.index(int(k))], self.weights[name]

    def by_popularity(self, k: int) -> list[float]:
        """``hit@k`` over the clicks on items of each popularity decile, the rarest first; NaN where nobody clicked one.

        Raises:
            InputError: lists were not cut at ``k``.
        """
        columns = [self.column(f"{name}@{k}") for name in DECILES]
        return [float((value * weight).double().sum() / weight.double().sum()) for value, weight in columns]

    def json(self) -> str:
        """Everything except the per-user numbers, as JSON."""
        names = ("name", "ks", "settings", "values", "counts", "manifest")
        return json.dumps({key: getattr(self, key) for key in names}, default=str)

    def __str__(self) -> str:
        cells = {m: [self.values.get(f"{m}@{k}") for k in self.ks] for m in METRICS}
        present = {m: row for m, row in cells.items() if row != [None] * len(row)}
        rows = [[m, *("-" if v is None else f"{v:.4f}" for v in row)] for m, row in present.items()]
        settings = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        counts = [f"{value:,} {key}" for key, value in self.counts.items() if value]
        return "\n".join([f"{self.name} ({settings})", grid([["", *(f"@{k}" for k in self.ks)], *rows]), *counts])


def table(results: Sequence[Result], columns: Sequence[str] | None = None) -> str:
    """A text table with a row for each name; results of the same name (other seeds) become mean ± standard deviation.

    Args:
        results: of one holdout.
        columns: such as ``["recall@20", "hit@50"]``; by default recall, hr, ndcg and coverage at the first result's
            cuts.
    """
    if not results:
        raise InputError("results", "at least one result", "none", "evaluate a ranker first")
    default = [f"{m}@{k}" for m in ("recall", "hr", "ndcg", "coverage") for k in results[0].ks]
    columns = list(columns or default)
    seeds: dict[str, list[Result]] = {}
    for result in results:
        seeds.setdefault(result.name, []).append(result)
    rows = [[name, *(_mean_std([r[c] for r in group]) for c in columns)] for name, group in seeds.items()]
    return grid([["", *columns], *rows])


def _mean_std(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.4f}"


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as columns: the first to the left, the others to the right."""
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(width[0]), *map(str.rjust, row[1:], width[1:])]).rstrip() for row in rows]
    return "\n".join(lines)
