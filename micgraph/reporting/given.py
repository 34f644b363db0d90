"""What a report is asked to compare: runs of one graph under names of their own, and the held-out part of its split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micgraph import artifact, versions
from micgraph.evaluation import EvalData
from micgraph.graph.holdout import FORMAT, KIND
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.split import Holdout
from micgraph.run import Run, load_on
from micgraph.run_setup import load_settings
from micgraph.schema import ArtifactError, InputError, MicgraphError


@dataclass(frozen=True)
class Candidate:
    """A run that is to be compared.

    Attributes:
        label: what the page calls it.
        source: the run, or its directory.
        setup: what the run was trained with.
    """

    label: str
    source: Run | Path
    setup: dict[str, Any]

    @property
    def directory(self) -> Path:
        """Where it lies."""
        return self.source.directory if isinstance(self.source, Run) else self.source

    def load(self, graph: RecGraph) -> Run:
        """The run, read where only its directory was given, on the graph that all runs share."""
        return self.source if isinstance(self.source, Run) else load_on(graph, self.source)


def candidates(given: Any) -> list[Candidate]:
    """The runs by label: the names of a mapping, else the last parts of the directories that tell them apart.

    Raises:
        InputError: none, something that is no run, one run twice, or runs on different graphs.
        ArtifactError: a directory without a run.
    """
    if isinstance(given, (str, Path, Run)):
        given = [given]
    if not isinstance(given, (Mapping, Iterable)) or not given:
        remedy = "pass what train returned, or directories that it wrote"
        raise InputError("runs", "at least one run", f"{given!r}", remedy)
    named = dict(given) if isinstance(given, Mapping) else dict(enumerate(given))
    sources = [_source(one) for one in named.values()]
    places = [(one.directory if isinstance(one, Run) else one).resolve() for one in sources]
    again = next((place for at, place in enumerate(places) if place in places[:at]), None)
    if again is not None:
        raise InputError("runs", "each run once", f"{again} twice", "name every run once")
    labels = [str(name) for name in named] if isinstance(given, Mapping) else _labels(places)
    found = [Candidate(label, one, _setup(one)) for label, one in zip(labels, sources, strict=True)]
    _refuse_other_graphs(found)
    return found


def _source(given: Any) -> Run | Path:
    if isinstance(given, Run):
        return given
    if not isinstance(given, (str, Path)):
        remedy = "pass what train returned, or a directory that it wrote"
        raise InputError("runs", "runs, or their directories", f"a {type(given).__name__}", remedy)
    return Path(given)


def _setup(source: Run | Path) -> dict[str, Any]:
    if isinstance(source, Run):
        return load_settings(source.directory)
    if artifact.exists(source):
        kind, _ = artifact.described(source)
        raise ArtifactError(str(source), "the directory of a run", f"a saved {kind}", "pass the directory train wrote")
    directory = versions.newest(source)
    if not artifact.exists(directory / "setup"):
        got = "a directory without one" if source.is_dir() else "a file" if source.exists() else "no such directory"
        raise ArtifactError(str(source), "the directory of a run", got, "pass the directory that train wrote")
    return load_settings(directory)


def _labels(places: Sequence[Path]) -> list[str]:
    """Of each directory its last parts, as many as tell them all apart."""
    parts = 1
    while len({place.parts[-parts:] for place in places}) < len(places):
        parts += 1
    return ["/".join(place.parts[-parts:]) for place in places]


def _refuse_other_graphs(found: Sequence[Candidate]) -> None:
    first = found[0]
    for other in found[1:]:
        if other.setup["graph"] != first.setup["graph"]:
            raise InputError(
                "runs",
                f"runs on one graph, that of {first.label} ({first.setup['graph'][:8]})",
                f"{other.label}, on another one ({other.setup['graph'][:8]})",
                "compare runs of one graph, and make one report for each graph",
            )


def held_out(given: Any, graph: RecGraph, runs: Sequence[Candidate]) -> tuple[Holdout | EvalData | None, str]:
    """The part that runs are judged on, and where it comes from.

    Args:
        given: a part of a split, its directory, or None: then the first directory named ``*-valid`` that holds the
            validation part of the graph's own split, beside a run, beside the folder it lies in, or in the working
            directory.
        graph: that of the runs.
        runs: where they lie.

    Returns:
        The part, or None where none was given and none is found; and a name for the page.

    Raises:
        InputError: no part of a split, or one of another split than the graph's.
        ArtifactError: a directory is missing, damaged or of another kind.
    """
    own = None if graph.manifest is None else graph.manifest["split"]
    if given is None:
        given = _beside(own, runs)
        if given is None:
            return None, ""
    name = Path(given).resolve().name if isinstance(given, (str, Path)) else ""
    part = Holdout.load(given) if isinstance(given, (str, Path)) else given
    if isinstance(part, Holdout) and own is not None and part.manifest.get("split") != own:
        got, remedy = f"{name or 'a part'} of another split", "pass a part of the split that made the graph"
        raise InputError("holdout", f"a part of the graph's own split ({own[:8]})", got, remedy)
    return part, name


def _beside(split: str | None, runs: Sequence[Candidate]) -> Path | None:
    homes = [place for run in runs for place in (run.directory.parent, run.directory.parent.parent)]
    for home in dict.fromkeys([*homes, Path()]):
        for path in sorted(home.glob("*-valid")):
            if split is not None and _split_of(path) == split:
                return path
    return None


def _split_of(path: Path) -> str | None:
    """The split of a saved part; None of anything else, since nobody has named it."""

    def read(version: Path) -> dict[str, Any]:
        return dict(json.loads((version / "holdout.json").read_text(encoding="utf-8")))

    with suppress(MicgraphError):
        if artifact.described(path)[0] == KIND:
            return artifact.opened(path, KIND, FORMAT, read, only="holdout.json").get("split")
    return None
