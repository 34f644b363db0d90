"""append: a later log into a saved graph, as if it had been built from all events at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from micgraph import artifact
from micgraph.config import parse
from micgraph.graph import storage
from micgraph.graph.attributes import NO_EVENT, NO_ROW, feature_table, notes, semantic_edges, with_rows
from micgraph.graph.baskets import CUTS, session_cuts
from micgraph.graph.build_config import BuildConfig, encoder_name
from micgraph.graph.catalog import Encoded
from micgraph.graph.events import Log, read_log
from micgraph.graph.fields import take
from micgraph.graph.growth import Known, grown
from micgraph.graph.merging import Merged, merged
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.recount import recounted
from micgraph.graph.relation import Relation
from micgraph.graph.semantic import NOT_SIMILAR
from micgraph.graph.splice import Splice, renumbered, some_rows
from micgraph.graph.split import Split
from micgraph.graph.staging import DUPLICATE
from micgraph.graph.titles import ENCODERS
from micgraph.graph.vector_search import Findings
from micgraph.schema import (
    CLICKS,
    CO_OCCURS,
    CONTAINS,
    ITEM,
    ITEM_ID,
    SIMILAR,
    USER,
    USER_ID,
    ArtifactError,
    ConfigError,
    InputError,
)


def append(path: str | Path, log: Any, drop_old: bool = False, encode: Any = None) -> RecGraph:
    """Add a later log, such as a new day, to a saved graph.

    The graph is then the one that :func:`build` makes of all events with the same settings, but for the numbers of
    nodes and the codes of values: those of the graph stay, and new users, items and values get the next ones, in the
    order of their ids. So a late event lands where its time says, a session that was open goes on, and an event that
    shares user, item and second with an earlier one is refused. Sessions have no ids and are numbered anew, along the
    users' rows. Only users of the new log are sorted and cut into sessions again; ``co_occurs`` is counted again for
    the items of sessions that changed, ``similar`` found again where an item is new or has another row.

    A row of the log's feature tables takes the place of an earlier row of its id, rows of ids that had no event so far
    wait for one. Columns of numbers are standardised anew over all rows, so their values change a little for
    everybody. ``graph.manifest`` stays: it says how the log of the first build was split.

    It holds the new graph in memory once, beside the old one, which is mapped; ``memory_limit`` of the build bounds
    the sorting of events only. One append at a time.

    Args:
        path: the graph's directory.
        log: a :class:`Log`, or what :func:`read_log` takes.
        drop_old: remove the earlier versions of the graph. They stay by default:
            :func:`micgraph.artifact.versions` lists them, :meth:`RecGraph.load` reads each,
            :func:`micgraph.artifact.drop_old` removes them later.
        encode: the callable that the graph was built with, where it was built with one: a saved graph has its name.

    Returns:
        The new graph, its edges mapped from the new version.

    Raises:
        ArtifactError: no graph at ``path``, a damaged one, one that an earlier version of micgraph saved without what
            this needs, or one that changed in the meantime.
        ConfigError: ``encode`` is missing or another one than the graph's.
        InputError: the log has no event, times would span more than 68 years, or it is a whole split.
        SchemaError: ids or a feature column are of another type than the graph's.
    """
    if not isinstance(path, (str, Path)):
        raise InputError("path", "the directory of a saved graph", type(path).__name__, "save it, and pass its path")
    version = artifact.live(path)
    found = appended(storage.load(path), log, encode, str(path))
    if artifact.live(path) != version:
        raise ArtifactError(str(path), f"the version {version.name}", "a later one", "append to that one")
    storage.map_edges(found, storage.save(found, path, keep=1 if drop_old else None))
    return found


def appended(graph: RecGraph, log: Any, encode: Any = None, name: str = "graph") -> RecGraph:
    """What :func:`append` saves, in memory: a new graph, while the given one stays as it is.

    Args:
        graph: as it was loaded, on the CPU.
        log, encode: see there.
        name: what errors call the graph.

    Raises:
        ArtifactError: an earlier version of micgraph saved the graph without what this needs.
        ConfigError, InputError, SchemaError: see there.
    """
    if isinstance(log, Split):
        raise InputError("log", "one log", "a whole split", "pass split.train")
    if graph.residue is None:
        remedy = "build it again from its log with this version of micgraph; Spark keeps no ids of given sessions"
        raise ArtifactError(name, "a graph that can be appended to", "one without its residue", remedy)
    config = _config(graph, encode)
    return _appended(graph, log if isinstance(log, Log) else read_log(log, memory_limit=config.memory_limit), config)


def _config(graph: RecGraph, encode: Any) -> BuildConfig:
    """The build's settings, with the encoder of titles itself where the graph only has its name."""
    name = graph.config["encode"]
    if encode is None and name in ENCODERS:
        return parse(BuildConfig, graph.config)
    given = None if encode is None else encoder_name(encode)
    if given != name:
        remedy = "pass that one, or build the graph again"
        raise ConfigError("encode", f"{name}, which the graph was built with", given, remedy)
    return parse(BuildConfig, graph.config | {"encode": encode})


def _appended(graph: RecGraph, log: Log, config: BuildConfig) -> RecGraph:
    found = merged(graph, log, config)
    items, people = _features(graph, log, found)
    relations = found.relations | {CO_OCCURS: _counted(graph, found, config)}
    near, findings = _similar(graph, items, found.order, config)
    return replace(
        graph,
        relations=relations | ({} if near is None else {SIMILAR: near}),
        item_fields=items.fields,
        user_fields=people.fields,
        users=found.users,
        items=found.items,
        item_vocab=items.vocab,
        user_vocab=people.vocab,
        items_table=items.table,
        epoch=found.epoch,
        refused=_refused(graph, log, found, config) | notes(ITEM, items) | notes(USER, people) | findings.notes,
        measured=findings.measured,
        residue=with_rows(found.residue, items, people),
    )


def _features(graph: RecGraph, log: Log, found: Merged) -> tuple[Encoded, Encoded]:
    """Of the items and the users."""
    residue = graph.residue
    assert residue is not None
    clicked = np.zeros(len(found.items), dtype=bool)
    clicked[found.relations[CLICKS].col.numpy()] = True
    catalogue, people = (
        Known(fields[name], vocab, table, residue.waiting.get(kind), residue.without_row.get(kind))
        for kind, name, fields, vocab, table in (
            (ITEM, ITEM_ID, graph.item_fields, graph.item_vocab, graph.items_table),
            (USER, USER_ID, graph.user_fields, graph.user_vocab, residue.users_table),
        )
    )
    items = grown(catalogue, feature_table(log, "items"), found.items, clicked)
    return items, grown(people, feature_table(log, "users"), found.users)


def _counted(graph: RecGraph, found: Merged, config: BuildConfig) -> Relation:
    """``co_occurs``: rows of items of changed sessions anew, the others as they are."""
    contains, rows = found.relations[CONTAINS], torch.nonzero(found.changed).flatten()
    top_k, max_pairs = config.co_occurs_top_k, config.max_pairs_per_session
    new = some_rows(recounted(contains, found.changed, found.order, top_k, max_pairs), rows)
    return Splice(~found.changed[: graph.n_items], found.changed).relation(graph.relations[CO_OCCURS], new)


def _similar(graph: RecGraph, items: Encoded, order: Tensor, config: BuildConfig) -> tuple[Relation | None, Findings]:
    """``similar``: found again, among items in the order of their ids, unless there is the same to find."""
    table, findings = items.table, Findings()
    if len(order) == graph.n_items and (table is None or table.equals(graph.items_table)):
        known = {reason: count for reason, count in graph.refused.items() if NOT_SIMILAR in reason}
        return graph.relations.get(SIMILAR), Findings(known, dict(graph.measured))
    ordered = None if table is None else table.take(order.numpy())
    found = semantic_edges(replace(items, fields=take(items.fields, order), table=ordered), config, findings)
    return None if found is None else renumbered(found, order), findings


def _refused(graph: RecGraph, log: Log, found: Merged, config: BuildConfig) -> dict[str, int]:
    """What was refused so far, less what depends on all rows and sessions."""
    earlier = {reason: count for reason, count in graph.refused.items() if NOT_SIMILAR not in reason}
    counts = Counter(earlier) + Counter(log.refused) + Counter({DUPLICATE: found.duplicates})
    for reason in (*CUTS, *(f"{kind} {note}" for kind in (ITEM, USER) for note in (NO_EVENT, NO_ROW))):
        counts.pop(reason, None)
    return dict(counts) | session_cuts(found.relations[CONTAINS], config.max_pairs_per_session)
