"""report: one HTML page that compares runs of one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from micgraph.document import refuse_directory, save
from micgraph.drawing import require_matplotlib
from micgraph.evaluation import EvalData, prepared
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.split import Holdout
from micgraph.progress import progress_bar
from micgraph.reporting.given import Candidate, candidates, held_out
from micgraph.reporting.judging import STEPS, Asked, Comparison, compare
from micgraph.run import Run
from micgraph.run_setup import GRAPH
from micgraph.schema import check_range, check_whole
from micgraph.versions import newest

MOST_USERS = 20_000
"""Held-out users that are judged where more are not asked for."""


def report(
    runs: Run | str | Path | Sequence[Run | str | Path] | Mapping[str, Run | str | Path],
    holdout: Holdout | EvalData | str | Path | None = None,
    out: str | Path = "report.html",
    k: int = 50,
    filter_seen: bool = True,
    new_only: bool = False,
    users: int = MOST_USERS,
    seed: int = 0,
    progress: bool = True,
) -> Path:
    """Write one HTML page that compares runs: losses and metrics over epochs, recall against coverage and diversity,
    what each channel finds, hits by popularity and by length of the history, how vectors lie, and example users.

    The page needs nothing beside itself. A page that was there before is replaced when the new one is whole.

    Args:
        runs: runs of one graph, or their directories; a mapping gives them names.
        holdout: a part of the split that made the graph, or its directory. None takes a directory ``*-valid`` with the
            validation part of the graph's own split beside the runs, one folder up or in the working directory; where
            there is none the page says what it lacks.
        out: the file.
        k: the length of lists in all that has one length; at most the catalogue.
        filter_seen: leave out what each user has already clicked.
        new_only: judge only clicks on items new to their user.
        users: held-out users at most; of more, so many are drawn.
        seed: of the drawn users, of the items on the map and of the example users.
        progress: show a progress bar.

    Returns:
        The path of the page.

    Raises:
        InputError: no runs, runs on different graphs, one run twice, a holdout of another split, or ``out`` is a
            directory.
        ArtifactError: a directory without a run, a damaged one, or nothing can be written to ``out``.
        ConfigError: ``k`` or ``users`` is no whole number above 0.
        LeakageError: held-out clicks are edges of the graph.
        MissingExtraError: matplotlib is not installed.
    """
    for name, value in (("k", k), ("users", users)):
        check_whole(name, value)
        check_range({name: value}, name, at_least=1)
    require_matplotlib()
    refuse_directory(Path(out))
    found = _compared(runs, holdout, Asked(k, seed, filter_seen, new_only), users, progress)
    from micgraph.reporting.page import page

    return save(out, page(found))


def _compared(runs: object, holdout: object, asked: Asked, users: int, progress: bool) -> Comparison:
    chosen = candidates(runs)
    graph = _graph_of(chosen[0])
    asked = replace(asked, k=min(asked.k, graph.n_items))
    part, source = held_out(holdout, graph, chosen)
    data, of_users = None, 0
    if part is not None:
        data = prepared(part, graph)
        data = data.only_new() if asked.new_only else data
        data, of_users = data.drawn(users, asked.seed), len(data)
    quiet: dict[str, Any] = {} if progress else {"disable": True}
    with progress_bar(total=STEPS * len(chosen), desc="judging runs", **quiet) as bar:
        return compare(chosen, graph, (data, of_users, source), asked, bar.update)


def _graph_of(chosen: Candidate) -> RecGraph:
    return chosen.source.graph if isinstance(chosen.source, Run) else RecGraph.load(newest(chosen.source) / GRAPH)
