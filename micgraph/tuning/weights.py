"""The weights of a run's fusion, chosen on validation data one after another; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from micgraph.evaluation import EvalData, evaluate_ranker, prepared
from micgraph.graph.split import Holdout
from micgraph.progress import progress_bar
from micgraph.retrieval.contracts import TrainedRun
from micgraph.retrieval.rankers import FusedRanker
from micgraph.retrieval.recommender import Recommender
from micgraph.schema import InputError, did_you_mean

WEIGHTS: Mapping[str, Sequence[Any]] = {
    "basic": ("cosine", "score"),
    "count_scale": ("linear", "log"),
    "lambda_mic": (0.0, 0.1, 0.3, 0.5, 1.0, 3.0, 10.0, 30.0),
    "lambda_div": (0.0, 0.02, 0.05, 0.1, 0.2, 0.5),
}
"""Of Eq. 5: what :func:`tune_fusion` chooses among by default."""
ROUNDS = 3


@dataclass(frozen=True)
class FusionChoice:
    """What a search of weights ended with.

    Attributes:
        settings: the chosen values of what was searched: pass them on, ``Recommender(run, fusion=choice.settings)``.
        score: the monitored metric with them.
        before: the metric with the weights that were there.
        monitor: the metric.
        tried: every combination that was judged, with its metric, in order.
    """

    settings: dict[str, Any]
    score: float
    before: float
    monitor: str
    tried: list[tuple[dict[str, Any], float]]


def tune_fusion(
    run: TrainedRun | Recommender,
    validation: Holdout | EvalData,
    monitor: str = "recall@50",
    over: Mapping[str, Sequence[Any]] | None = None,
    filter_seen: bool = True,
) -> FusionChoice:
    """Choose settings of the fusion by the fused lists' metric on validation data.

    One setting after another takes its best value, the others as they are, until a round over all changes nothing, or
    three rounds are done. A value is left only for one that is better.

    Args:
        run: a trained run, or a recommender whose fusion is where the search begins.
        validation: held-out clicks; never those on which the result is then judged.
        monitor: a metric and a cut, such as ``"hit@200"``.
        over: settings of the fusion and their values; Eq. 5's weights by default, :data:`WEIGHTS`.
        filter_seen: leave out what each user has already clicked.

    Raises:
        ConfigError: an unknown setting, or a value out of range.
        InputError: nothing to choose from, the learned fusion among the values, or no such metric.
        LeakageError: held-out clicks are edges of the graph.
    """
    over = WEIGHTS if over is None else over
    listed = isinstance(over, Mapping) and all(isinstance(values, list | tuple) for values in over.values())
    if not listed or not over or not all(over.values()) or "learned" in over.get("fusion", ()):
        remedy = "name settings and their values; a learned fusion is fitted, see Recommender.fit_fusion"
        raise InputError("over", "settings with some values each, and no learned fusion", repr(over), remedy)
    recommender = run if isinstance(run, Recommender) else Recommender(run)
    for name, values in over.items():
        for value in values:
            recommender.with_fusion({name: value})  # an error comes before the first list
    cut = monitor.partition("@")[2] if isinstance(monitor, str) else ""
    if not cut.isdigit() or int(cut) < 1:
        raise InputError("monitor", "a metric and a cut", repr(monitor), "write it like recall@50")
    judge = _Judge(recommender, prepared(validation, recommender.graph), monitor, (int(cut),), filter_seen)
    config = recommender.retriever.config
    best = {name: getattr(config, name) for name in over}
    before = score = judge(best)
    with progress_bar(desc="fusions") as judge.bar:
        for _ in range(ROUNDS):
            start = dict(best)
            for name, values in over.items():
                for value in values:
                    if (reached := judge({**best, name: value})) > score:
                        best, score = {**best, name: value}, reached
            if best == start:
                break
    return FusionChoice(best, score, before, monitor, judge.tried)


class _Judge:
    """The monitored metric of settings, each combination judged once."""

    def __init__(
        self, recommender: Recommender, data: EvalData, monitor: str, ks: tuple[int, ...], filter_seen: bool
    ) -> None:
        self.recommender, self.data, self.monitor = recommender, data, monitor
        self.ks, self.filter_seen = ks, filter_seen
        self.tried: list[tuple[dict[str, Any], float]] = []
        self.bar: Any = None

    def __call__(self, settings: dict[str, Any]) -> float:
        known = [score for tried, score in self.tried if tried == settings]
        if known:
            return known[0]
        ranker = FusedRanker(self.recommender.with_fusion(settings))
        values = evaluate_ranker(ranker, self.data, self.ks, self.filter_seen).values
        if self.monitor not in values:
            remedy = did_you_mean(self.monitor, values, "name one of these")
            raise InputError("monitor", f"one of {', '.join(values)}", repr(self.monitor), remedy)
        score = values[self.monitor]
        self.tried.append((settings, score))
        if self.bar is not None:
            self.bar.update()
        return score
