"""refresh: a later log into a run and what serves it, in one swap (the hourly cycle of MIC 2.9)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from micgraph import artifact, versions, warm
from micgraph.config import merge, read_yaml
from micgraph.graph.appending import appended
from micgraph.graph.newcomers import last_rows, with_waiting
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.scratch import locked
from micgraph.pipeline import train
from micgraph.presets import resolve
from micgraph.retrieval import saving
from micgraph.retrieval.reloading import with_missing
from micgraph.retrieval.retriever import Retriever
from micgraph.run import Run, load_run
from micgraph.run_setup import load_settings
from micgraph.schema import CLICKS, ITEM, ITEM_ID, USER, USER_ID, ArtifactError, InputError, SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger(__name__)
STAGES = ("append", "training", "vectors", "neighbours", "index", "save")
FEW = {"training": {"epochs": 1}, "mining": {"start": 1}}
"""What differs from the run's settings by default: there are weights already, so mining need not wait for some."""
IDS = {ITEM: ITEM_ID, USER: USER_ID}
ONE = "run one refresh at a time"


@dataclass(frozen=True)
class Refreshed:
    """What :func:`refresh` made.

    Attributes:
        run: the live version: the new one, or the one that there was where the log had nothing new.
        serving: what :meth:`micgraph.Recommender.load` and :meth:`micgraph.Recommender.reload` take.
        seconds: stage -> how long it took, of the stages that there were.
        new: how many ``clicks``, ``users`` and ``items`` came to the graph.
        refused: reason -> how many more rows of the log, or nodes without features, ``graph.refused`` has for it now.
    """

    run: Run
    serving: Path
    seconds: dict[str, float]
    new: dict[str, int]
    refused: dict[str, int]

    @property
    def swapped(self) -> bool:
        """Whether there is a new version; without, nothing on disk has changed."""
        return "save" in self.seconds

    def table(self) -> pa.Table:
        """The stages with their seconds, and their sum."""
        import pyarrow as pa

        seconds = [*self.seconds.values(), sum(self.seconds.values())]
        return pa.table({"stage": [*self.seconds, "total"], "seconds": seconds})


def refresh(
    run: str | Path,
    log: Any,
    config: Mapping[str, Any] | str | Path | None = None,
    device: str = "auto",
    encode: Any = None,
    progress: bool = True,
) -> Refreshed:
    """Take a later log, such as that of the last hour, into a run and what serves it.

    The log is appended to the run's graph, training goes on from the run's weights, and vectors, neighbours and indexes
    are made of them; only then one rename makes all of it what ``run`` and ``run/serving`` stand for. Before that, also
    if this is killed, they stand for what they did. Live clicks need nothing done: a store does not know of versions.

    What serves the run keeps the fusion's settings and kinds of index that ``run/serving`` has, if there is one, else
    the run's. Items that were added to it, and saved with it, are items of the new graph where the log has clicks on
    them, with the rows that they were added with; the others are added again.

    The version before the live one stays on disk, and so does what ``train`` wrote. Both versions are in memory.

    Args:
        run: a run's directory.
        log: as :func:`micgraph.append` takes it, with rows of new items and users. Events that the graph has are
            passed over; where nothing else is in it, nothing is trained and nothing changes.
        config: settings that differ from the run's, as :func:`micgraph.train` takes them for a warm start; by default
            one epoch (``training.epochs``), which may mine.
        device: ``auto`` takes a GPU where there is one.
        encode: the callable that the graph was built with, where it was built with one.
        progress: show a bar while it trains.

    Raises:
        ArtifactError: no run there, a damaged one, or one that something else is refreshing.
        ConfigError: a setting that does not fit the run, or another ``encode`` than the graph's.
        InputError: no path, or a log without an event.
        SchemaError: ids or a feature column are of another type than the graph's, or a column is new.
    """
    if not isinstance(run, (str, Path)):
        raise InputError("run", "the directory of a run", type(run).__name__, "train with out=, and pass its path")
    root = Path(run)
    if root.name == versions.SERVING and not artifact.exists(root / "setup"):
        raise InputError("run", "the directory of a run", f"{root}, what serves one", f"pass {root.parent}")
    load_settings(versions.newest(root))
    given = read_yaml(config) if isinstance(config, (str, Path)) else dict(config or {})
    with _alone(root):
        return _refreshed(root, log, merge(FEW, given), device, encode, progress)


def _refreshed(root: Path, log: Any, config: Mapping[str, Any], device: str, encode: Any, progress: bool) -> Refreshed:
    seconds: dict[str, float] = {}
    before, serving = load_run(root), root / versions.SERVING
    warm.check_model(
        before.config.model, resolve(None, warm.settings(before, None, config), before.graph.n_items).model
    )
    how, added = _served(before, serving)
    with _timed(seconds, "append"):
        had = before.graph if added is None else with_waiting(before.graph, added)
        graph = appended(had, log, encode, str(root))
    new = {name: count - _counts(had)[name] for name, count in _counts(graph).items()}
    more = {reason: count - had.refused.get(reason, 0) for reason, count in graph.refused.items()}
    refused = {reason: count for reason, count in more.items() if count > 0}
    if _same(had, graph):
        return Refreshed(before, serving, seconds, new, refused)
    _refuse_columns(before, graph)
    _tell_strangers(had, graph, new)
    made: list[Run] = []

    def write(folder: Path) -> None:
        with _timed(seconds, "training"):
            made.append(train(graph, None, None, config, folder, device, progress=progress, warm_start=before))
        retriever = _retriever(made[0], how, added, seconds)
        with _timed(seconds, "save"):
            saving.save(retriever, folder / versions.SERVING)
        if versions.newest(root) != before.directory:
            raise ArtifactError(str(root), f"the version {before.directory.name}", "a later one", ONE)

    started, earlier = perf_counter(), sum(seconds.values())
    artifact.publish(root / versions.REFRESHED, versions.KIND, versions.FORMAT, write, versions.KEPT)
    seconds["save"] += perf_counter() - started - (sum(seconds.values()) - earlier)
    return Refreshed(made[0], serving, seconds, new, refused)


def _served(run: Run, serving: Path) -> tuple[saving.Settings, pa.Table | None]:
    """How the run is served, and the rows of the items that were added to what serves it."""
    place = versions.place(serving)
    if not artifact.exists(place):
        return saving.Settings(run.fusion, run.learned, 0), None
    folder = artifact.resolve(place, saving.KIND, saving.FORMAT)
    how = saving.settings(folder)
    return how, last_rows(RecGraph.load(folder / "graph"), how.added) if how.added else None


def _retriever(run: Run, how: saving.Settings, added: pa.Table | None, seconds: dict[str, float]) -> Retriever:
    """Everything that is read at a request, made of the run's weights."""
    bare = Retriever(run.model, run.graph, how.fusion, how.learned)
    with _timed(seconds, "vectors"):
        search, own = run.model.item_vectors()
        stored = {"search": search, "items": own.detach().float(), "users": bare.encode_users()}
    found = Retriever(run.model, run.graph, how.fusion, how.learned, stored)
    with _timed(seconds, "neighbours"):
        _ = found.table
    with _timed(seconds, "index"):
        _ = found.index, found.users
        return found if added is None else with_missing(found, added)


def _counts(graph: RecGraph) -> dict[str, int]:
    return {"clicks": graph.relation(CLICKS).n_edges, "users": graph.n_users, "items": graph.n_items}


def _refuse_columns(run: Run, graph: RecGraph) -> None:
    """Refuse a graph with features that the run's model has no weights for."""
    model = run.config.model
    sides = (
        ("items", model.item_fields, run.graph.item_fields, graph.item_fields),
        ("users", model.user_fields, run.graph.user_fields, graph.user_fields),
    )
    for table, read, had, has in sides:
        if read is None and (strange := [name for name in has if name not in had]):
            got, remedy = ", ".join(map(repr, strange)), "leave it out, or build a graph with it and train anew"
            raise SchemaError(table, f"columns that the run was trained with ({', '.join(had)})", got, remedy)


def _tell_strangers(before: RecGraph, after: RecGraph, new: Mapping[str, int]) -> None:
    """Warn of a log in which nothing is known: numbers of users and items stay, and new ones follow."""
    had, has = before.relation(CLICKS), after.relation(CLICKS)
    people = int(has.indptr[before.n_users]) == had.n_edges
    if new["clicks"] and people and int((has.col < before.n_items).sum()) == had.n_edges:
        _LOG.warning(
            "refresh: all %d new clicks are of users and on items that the run did not know (%d users, %d items): is "
            "this a log of the same catalogue?",
            *(new["clicks"], new["users"], new["items"]),
        )


def _same(before: RecGraph, after: RecGraph) -> bool:
    """Whether a log had nothing that the graph did not have, rows that wait for an event included."""
    waiting = [{} if graph.residue is None else graph.residue.waiting for graph in (before, after)]
    if before.fingerprint() != after.fingerprint() or waiting[0].keys() != waiting[1].keys():
        return False
    pairs = [(rows.sort_by(IDS[kind]), waiting[1][kind].sort_by(IDS[kind])) for kind, rows in waiting[0].items()]
    return all(had.combine_chunks().equals(has.combine_chunks()) for had, has in pairs)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the run's lock, which goes with the process.

    Raises:
        ArtifactError: another process or thread holds it.
    """
    handle = locked(root)
    if handle is None:
        raise ArtifactError(str(root), "a run that nothing else refreshes", "a refresh that is under way", ONE)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + perf_counter() - started
