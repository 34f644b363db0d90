"""What a report says of each run: where it stands, what its lists reach, how its vectors lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from micgraph.baselines import Popularity
from micgraph.epochs import Epochs
from micgraph.evaluation import ChannelReport, EvalData, Result, channel_report, evaluate_ranker, spaces
from micgraph.graph.recgraph import RecGraph
from micgraph.reporting.examples import Example, drawn_rows, recalls
from micgraph.reporting.given import Candidate
from micgraph.reporting.item_map import ItemMap, drawn_items, item_map
from micgraph.retrieval.recommender import Recommender
from micgraph.run import Run

CUTS = (10, 20, 50, 100, 200)
"""Lengths of lists over which recall, coverage and diversity are shown; those that the catalogue has room for."""
STEPS = 4
"""Of :func:`judge`, for a progress bar."""


@dataclass(frozen=True)
class Judged:
    """One run.

    Attributes:
        label: what the page calls it.
        name: encoder and tasks.
        parameters: of the model.
        seed: of the training.
        planned: epochs at most.
        epochs: a row each.
        best_epoch: the one whose weights the run has; 0 before any.
        monitor: the metric that chooses the epoch.
        validation: what chose the epoch: split, part, ``filter_seen``; None where nothing did.
        learned: whether the lists are fused by a fitted model; where there was a validation, it was fitted on that.
        items: a map of its item vectors.
        channels: of what its lists reach, alone and fused; None without held-out events, as in what follows.
        vectors: alignment and uniformity by name.
        recalls: of each example user what the run recommends.
    """

    label: str
    name: str
    parameters: int
    seed: int
    planned: int
    epochs: Epochs
    best_epoch: int
    monitor: str
    validation: dict[str, object] | None
    learned: bool
    items: ItemMap
    channels: ChannelReport | None = None
    vectors: dict[str, float] | None = None
    recalls: tuple[Example, ...] = ()

    @property
    def fused(self) -> Result | None:
        """Of the lists that ``recommend`` gives."""
        return None if self.channels is None else self.channels.fused


@dataclass(frozen=True)
class Comparison:
    """All runs and what they share.

    Attributes:
        runs: in the order given.
        graph: what all were trained on.
        k: the length of lists in tables and figures that have one length.
        data: the held-out events, of drawn users where there are many; None where there are none.
        of_users: how many held-out users there are in all.
        source: where the held-out events come from; may be empty.
        filter_seen, new_only: whether lists leave out what a user has clicked, and whether only clicks on items new to
            their user are judged.
        popularity: the reference row.
        rows: int64, the example users among those of ``data``.
        seed: of every draw.
    """

    runs: tuple[Judged, ...]
    graph: RecGraph
    k: int
    seed: int
    filter_seen: bool
    new_only: bool
    data: EvalData | None = None
    of_users: int = 0
    source: str = ""
    popularity: Result | None = None
    rows: Tensor | None = None


@dataclass(frozen=True)
class Asked:
    """How runs are judged; see :class:`Comparison`."""

    k: int
    seed: int
    filter_seen: bool
    new_only: bool

    def cuts(self, n_items: int) -> list[int]:
        """The lengths at which lists are cut."""
        return sorted({self.k, *(k for k in CUTS if k <= n_items)})


def compare(
    chosen: Sequence[Candidate],
    graph: RecGraph,
    held_out: tuple[EvalData | None, int, str],
    asked: Asked,
    step: Callable[[int], object],
) -> Comparison:
    """Judge the runs, one at a time in memory.

    Args:
        chosen: the runs.
        graph: theirs.
        held_out: drawn users, how many there are in all, and where they come from.
        asked: how they are judged.
        step: called with the number of steps that are done.
    """
    data, of_users, source = held_out
    items = drawn_items(graph, len(chosen), asked.seed)
    rows = None if data is None else drawn_rows(len(data), asked.seed)
    runs = tuple(judge(one, graph, data, items, rows, asked, step) for one in chosen)
    reference = None
    if data is not None:
        popular = Popularity().fit(graph)
        reference = evaluate_ranker(popular, data, asked.cuts(graph.n_items), asked.filter_seen)
    return Comparison(
        runs, graph, **vars(asked), data=data, of_users=of_users, source=source, popularity=reference, rows=rows
    )


def judge(
    chosen: Candidate,
    graph: RecGraph,
    data: EvalData | None,
    items: Tensor,
    rows: Tensor | None,
    asked: Asked,
    step: Callable[[int], object],
) -> Judged:
    """One run, whose model is in memory only meanwhile.

    Args:
        chosen: the run.
        graph: what all runs are trained on.
        data: the held-out events, or None.
        items: int64 [n], those on the map.
        rows: int64 [e], the example users.
        asked: how it is judged.
        step: called with the number of steps that are done.
    """
    run = chosen.load(graph)
    found = _about(chosen, run, item_map(run.model.item_vectors()[1], items, run.graph, asked.seed))
    step(1)
    if data is None or rows is None:
        step(STEPS - 1)
        return Judged(**found)
    recommender = Recommender(run)
    channels = channel_report(recommender, data, asked.cuts(run.graph.n_items), asked.filter_seen)
    step(1)
    vectors = spaces(run.model, run.graph, data)
    step(1)
    examples = recalls(recommender, data, rows, asked.filter_seen)
    step(1)
    return Judged(**found, channels=channels, vectors=vectors, recalls=examples)


def _about(chosen: Candidate, run: Run, items: ItemMap) -> dict[str, Any]:
    training = run.config.training
    return {
        "label": chosen.label,
        "name": run.name,
        "parameters": sum(p.numel() for p in run.towers.parameters()),
        "seed": training.seed,
        "planned": training.epochs,
        "epochs": run.metrics,
        "best_epoch": run.best_epoch,
        "monitor": training.monitor,
        "validation": chosen.setup.get("validation"),
        "learned": run.fusion.fusion == "learned",
        "items": items,
    }
