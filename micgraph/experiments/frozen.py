"""What is chosen for a row on validation data before the test is looked at, kept so that no later look changes it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from micgraph import sealed
from micgraph.evaluation import evaluate_ranker
from micgraph.experiments.bench import Bench, fingerprint
from micgraph.experiments.row import Row
from micgraph.pipeline import BASELINES
from micgraph.schema import ConfigError
from micgraph.tuning import Choice, read_space
from micgraph.tuning.space import plain

FROZEN = "frozen"


@dataclass(frozen=True)
class Frozen:
    """What was chosen for a row on validation data.

    Attributes:
        setup: what it was chosen on.
        settings: dotted setting -> value, over the row's own.
        epochs: of the best run; None where validation selects the epoch of every run.
        fusion: settings of the fusion; None where each run chooses its own.
        learned: of the fitted fusion, where that was chosen.
        score: of the best run on validation data; None where nothing was tried.
        views: label of a view that chooses for itself -> its :class:`micgraph.experiments.fusing.Fusing`.
    """

    setup: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    fusion: dict[str, Any] | None = None
    learned: dict[str, Any] | None = None
    score: float | None = None
    views: dict[str, dict[str, Any]] = field(default_factory=dict)


def kept(
    out: Path, row: Row, bench: Bench, how: Mapping[str, Any], choose: Callable[[dict[str, Any]], Frozen]
) -> Frozen:
    """What was chosen for a row: read where it was chosen before, else chosen and written.

    Args:
        out: the directory of the table.
        row: whose settings they are.
        bench: the data that they are chosen on.
        how: what else decides: settings, search, budget.
        choose: receives the setup.

    Raises:
        ConfigError: it was chosen on other data, or in another way.
        ArtifactError: the file is damaged, or cannot be written.
    """
    path = out / FROZEN / f"{row.slug}.json"
    graph, valid = bench.develop
    judged: dict[str, Any] = {"graph": graph.fingerprint(), "validation": fingerprint(valid)}
    judged |= {"monitor": bench.monitor, "filter_seen": bench.filter_seen}
    setup = plain({**judged, **how})
    if not path.exists():
        frozen = choose(setup)
        sealed.write(path, asdict(frozen))
        return frozen
    found = Frozen(**sealed.read(path, ["setup"], [part.name for part in fields(Frozen)]))
    if found.setup != setup:
        differing = [name for name in {**setup, **found.setup} if found.setup.get(name) != setup.get(name)]
        expected = "the data and settings that the row was frozen with"
        got = f"{path}, whose {', '.join(differing)} differ"
        raise ConfigError("out", expected, got, "choose another directory, or remove that file")
    return found


def best_reference(row: Row, bench: Bench, setup: dict[str, Any]) -> Frozen:
    """The arguments of a reference row with the best validation figure: every one of the grid is tried.

    Raises:
        ConfigError: the row's search is no grid of values.
        InputError: the method refuses data of this size.
    """
    space = read_space(row.search)
    grid: dict[str, tuple[Any, ...]] = {}
    for name, entry in space.items():
        if not isinstance(entry, Choice):
            raise ConfigError(f"search.{name}", "values of a reference row", repr(entry), "write them as values: [...]")
        grid[name] = entry.values
    graph, valid = bench.develop
    k, found = int(bench.monitor.partition("@")[2]), []
    for values in itertools.product(*grid.values()):
        settings = dict(zip(grid, values, strict=True))
        ranker = BASELINES[str(row.baseline)](**{**row.config, **settings}).fit(graph)
        score = evaluate_ranker(ranker, valid, (k,), bench.filter_seen)[bench.monitor]
        found.append(Frozen(setup, settings, score=score))
    return max(found, key=lambda one: one.score or 0.0)
