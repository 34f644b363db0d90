"""A run's directory: every part of it, and whether they belong together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micgraph import artifact, versions
from micgraph.doctor.contents import recommender
from micgraph.doctor.look import Look, whole
from micgraph.schema import ArtifactError, InputError

if TYPE_CHECKING:
    from micgraph.retrieval.retriever import Retriever
    from micgraph.run import Run

NEEDED, MORE = ("setup", "graph", "best"), ("last", "fusion", versions.SERVING)
AGAIN = "save it again: micgraph index RUN, or Recommender(run).save(...)"


def run(look: Look, path: Path) -> None:
    """What ``train`` wrote, then the live version where refreshes have made some."""
    live = versions.newest(path)
    if (path / versions.REFRESHED).is_dir() and whole(look, path / versions.REFRESHED):
        look.facts.append(f"refreshed: version {live.name} is live")
    parts = [name for name in (*NEEDED, *MORE) if name in NEEDED[:2] or (path / name).is_dir()]
    sound = [whole(look, path / name) for name in parts]
    if not all(sound):
        return
    if live != path:  # load_run reads those of the live version
        look.tried(lambda: _metrics(path))
    if not artifact.exists(live / "best"):
        remedy = "repeat the call of train with this directory: it goes on, or begins anew"
        raise ArtifactError(str(live), "a run with weights", "one whose first epoch has not ended", remedy)
    found = look.tried(lambda: _loaded(look, live))
    if found is not None:
        look.tried(lambda: look.facts.extend(_story(found)))
        if (live / versions.SERVING).is_dir():
            look.tried(lambda: _serving(look, path, live, found))


def _metrics(directory: Path) -> None:
    from micgraph.training import read_metrics

    read_metrics(directory)


def _loaded(look: Look, directory: Path) -> Run:
    """The run; it and its graph must be of one training."""
    from micgraph.graph.recgraph import RecGraph
    from micgraph.run import load_on
    from micgraph.run_setup import load_settings

    setup = load_settings(directory)
    wrote = ", ".join(f"{name} {version}" for name, version in setup.get("versions", {}).items())
    look.facts.append(f"written by {wrote}")
    graph = RecGraph.load(directory / "graph").validate()
    if setup["graph"] != graph.fingerprint():
        remedy = "restore the directory from a copy, or train again"
        raise InputError(str(directory / "graph"), "the graph that the run was trained on", "another", remedy)
    return load_on(graph, directory)


def _story(found: Run) -> list[str]:
    """What the run says of itself; its file of metrics must hold one JSON a line."""
    path = found.directory / "metrics.jsonl"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], 1):
        try:
            json.loads(line)
        except ValueError as error:
            remedy = "restore it from a copy; recommending does not read it"
            raise ArtifactError(str(path), "JSON in every line", f"something else in line {number}", remedy) from error
    return [line.strip() for line in repr(found).replace(f", {found.directory}", "").splitlines()]


def _serving(look: Look, path: Path, directory: Path, found: Run) -> None:
    """What serves the run must have its graph, but for items that were added, and its weights."""
    from micgraph.retrieval.saving import load

    place = directory / versions.SERVING
    recommender(look, place)
    served = load(place)
    same = {"graph": _one_graph(found, served), "weights": _one_model(found.model.towers, served.model)}
    other = [name for name, equal in same.items() if not equal]
    if other:
        got = f"another {' and other '.join(other)}"
        raise InputError(str(place), "what serves the run as it is", got, AGAIN.replace("RUN", str(path)))


def _one_graph(found: Run, served: Retriever) -> bool:
    import torch

    mine, theirs = found.graph, served.graph
    if mine.users is None or mine.items is None or theirs.users is None or theirs.items is None:
        return False
    n = len(theirs.items) - served.added
    ids = mine.users.values.equals(theirs.users.values) and mine.items.values.equals(theirs.items.values[:n])
    clicks = [graph.relation("clicks").col for graph in (mine, theirs)]
    return bool(ids and torch.equal(*clicks))


def _one_model(mine: Any, theirs: Any) -> bool:
    import torch

    weights = [towers.state_dict() for towers in (mine, theirs.towers)]
    return weights[0].keys() == weights[1].keys() and all(
        weights[0][name].shape == weights[1][name].shape and torch.equal(weights[0][name], weights[1][name])
        for name in weights[0]
    )
