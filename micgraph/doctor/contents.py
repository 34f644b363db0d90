"""What is in directories of one kind: loaded as their users load them, and asked once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from micgraph.doctor.look import STORE, Look


def _graph(look: Look, path: Path) -> None:
    from micgraph.graph.recgraph import RecGraph

    found = RecGraph.load(path)
    look.facts += [line.strip() for line in repr(found).splitlines()]
    found.validate()


def _holdout(look: Look, path: Path) -> None:
    from micgraph.graph.split import Holdout

    found = Holdout.load(path)
    look.facts += [
        f"{found.manifest.get('part', 'held-out')} part of a split {found.manifest.get('kind', '')}".rstrip(),
        f"{len(found.targets):,} targets, {len(found.histories):,} history events",
    ]


def recommender(look: Look, path: Path) -> None:
    """What serves: it is loaded and recommends an item."""
    from micgraph.retrieval.recommender import Recommender

    rec = Recommender.load(path)
    added = rec.retriever.added
    look.facts += [repr(rec), f"index {rec.retriever.config.index}" + (f", {added:,} items added" if added else "")]
    if len(rec.users):
        rec.recommend(rec.users.ids([0]), k=1, filter_seen=False)


def _index(look: Look, path: Path) -> None:
    from micgraph.knn import VectorIndex

    found = VectorIndex.load(path)
    look.facts.append(repr(found))
    if len(found):
        found.search(found.vectors[:1], 1)


def _store(look: Look, path: Path) -> None:
    from micgraph.stores.survey import surveyed

    found = surveyed(path)
    look.facts.append(f"{found.events:,} events of {found.users:,} users, up to {found.size:,} each")


CHECKS: dict[str, Callable[[Look, Path], None]] = {
    "graph": _graph,
    "holdout": _holdout,
    "recommender": recommender,
    "index": _index,
    STORE: _store,
}
