"""Which fusion a row's channels get: the one with the best validation figure, a fitted one judged on other users."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from micgraph.evaluation import EvalData, evaluate_ranker
from micgraph.experiments.bench import Bench
from micgraph.experiments.row import Row
from micgraph.knn import Ragged
from micgraph.retrieval.learned import LearnedFusion
from micgraph.retrieval.rankers import FusedRanker
from micgraph.retrieval.recommender import Recommender
from micgraph.run import Run
from micgraph.schema import CO_OCCURS, ConfigError, InputError


@dataclass(frozen=True)
class Fusing:
    """How one view fuses.

    Attributes:
        settings: of the fusion, over the run's.
        learned: of the fitted model, where the fusion is ``"learned"``.
        tried: what it was chosen among and each one's validation figure; nothing where there was no choice.
    """

    settings: dict[str, Any]
    learned: dict[str, Any] | None = None
    tried: list[tuple[dict[str, Any], float]] = field(default_factory=list)

    def recommender(self, run: Run) -> Recommender:
        """The run's recommender with this fusion."""
        run.learned = None if self.learned is None else LearnedFusion(**self.learned)
        return Recommender(run, self.settings)


def choose_own(options: Sequence[Mapping[str, Any]], run: Run, valid: EvalData, bench: Bench) -> Fusing:
    """The fusion of one view with the best validation figure, as :func:`choose_fusion` does it for a row, on at most
    :attr:`Bench.fusion_users` users.

    Args:
        options: settings to choose among, of which the graph allows at least one.
        run, valid, bench: as there.

    Raises:
        ConfigError: the graph allows none of them.
    """
    possible = [dict(one) for one in options if _possible(run, one)]
    if not possible:
        remedy = "name neighbours that it has"
        raise ConfigError("fusions", "one that the graph allows", f"{len(options)} that it does not", remedy)
    valid = _drawn(valid, bench.fusion_users)
    tried = [] if len(possible) == 1 else [(one, _score(run, one, valid, bench)) for one in possible]
    best = max(tried, key=lambda pair: pair[1])[0] if tried else possible[0]
    learned = asdict(_recommender(run, best).fit_fusion(valid, bench.filter_seen)) if _is_learned(best) else None
    return Fusing(best, learned, tried)


def choose_fusion(row: Row, run: Run, valid: EvalData, bench: Bench) -> dict[str, Any]:
    """The fusion with the best validation figure; a learned one is fitted on all validation users once it is chosen,
    and stays with the run.

    What is fitted on some users suits these: so each half of them is judged with what was fitted on the other half.
    """
    if all(view.channels is None or view.options for view in row.views):
        return {}
    options = [dict(one) for one in row.fusions]
    if len(options) > 1:
        options = [one for one in options if _possible(run, one)]
    if not options:
        return {}
    best = options[0] if len(options) == 1 else max(options, key=lambda one: _score(run, one, valid, bench))
    run.learned = _recommender(run, best).fit_fusion(valid, bench.filter_seen) if _is_learned(best) else None
    return best


def halves(data: EvalData) -> tuple[EvalData, EvalData]:
    """Test users divided by chance, always in the same way; of an odd number the second half has one more."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    first = torch.zeros(len(data), dtype=torch.bool)
    first[order[: len(data) // 2]] = True
    return _some(data, first), _some(data, ~first)


def _drawn(data: EvalData, most: int | None) -> EvalData:
    """At most so many test users."""
    if most is None or len(data) <= most:
        return data
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    kept = torch.zeros(len(data), dtype=torch.bool)
    kept[order[:most]] = True
    return _some(data, kept)


def _possible(run: Run, option: Mapping[str, Any]) -> bool:
    """Whether the graph has the neighbours that an option reads, and is small enough for a linear model of them."""
    if option.get("neighbors") == CO_OCCURS and CO_OCCURS not in run.graph.relations:
        return False
    try:
        return len(_recommender(run, option).retriever.table) > 0
    except (ConfigError, InputError):
        return False


def _score(run: Run, option: Mapping[str, Any], valid: EvalData, bench: Bench) -> float:
    """The monitored metric of an option; minus infinity where there are too few users to fit it on half of them."""
    if not _is_learned(option):
        return _judged(_recommender(run, option), valid, bench)[0]
    total = counted = 0.0
    one, other = halves(valid)
    for fitted_on, judged_on in ((one, other), (other, one)):
        recommender = _recommender(run, option)
        try:
            recommender.fit_fusion(fitted_on, bench.filter_seen)
        except InputError:
            return -math.inf
        value, weight = _judged(recommender, judged_on, bench)
        total, counted = total + value * weight, counted + weight
    return total / counted


def _judged(recommender: Recommender, data: EvalData, bench: Bench) -> tuple[float, float]:
    """The monitored metric, and what its users count together (their clicks for ``hit``)."""
    k = int(bench.monitor.partition("@")[2])
    result = evaluate_ranker(FusedRanker(recommender), data, (k,), bench.filter_seen)
    return result[bench.monitor], float(result.column(bench.monitor)[1].sum())


def _recommender(run: Run, option: Mapping[str, Any]) -> Recommender:
    stands_in = {"fusion": "mic"} if _is_learned(option) else {}  # a learned one is not fitted yet
    return Recommender(run, {**option, **stands_in})


def _is_learned(option: Mapping[str, Any]) -> bool:
    return option.get("fusion") == "learned"


def _some(data: EvalData, kept: Tensor) -> EvalData:
    """The users where ``kept``, bool [B], is true."""
    return replace(
        data,
        user_ids=data.user_ids.take(kept.nonzero()[:, 0].numpy()),
        users=data.users[kept],
        histories=_rows(data.histories, kept),
        clicks=_rows(data.clicks, kept),
        new=data.new[kept[data.clicks.owner()]],
    )


def _rows(rows: Ragged, kept: Tensor) -> Ragged:
    inside = kept[rows.owner()]
    ends = rows.indptr.diff()[kept].cumsum(0)
    time = None if rows.time is None else rows.time[inside]
    return Ragged(torch.cat([ends.new_zeros(1), ends]), rows.items[inside], time)
