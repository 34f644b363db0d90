"""build: from a log to a RecGraph."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from micgraph.disk import room
from micgraph.graph import storage
from micgraph.graph.attributes import feature_table, notes, semantic_edges, with_rows
from micgraph.graph.baskets import distinct_baskets
from micgraph.graph.buffers import Buffers
from micgraph.graph.build_config import BuildConfig, as_config, settings_of
from micgraph.graph.catalog import encode_fields
from micgraph.graph.cooccurrence import co_occurrences
from micgraph.graph.events import Log, read_log
from micgraph.graph.files import is_path
from micgraph.graph.interactions import interactions
from micgraph.graph.memory import part_rows
from micgraph.graph.numbering import Numbered, numbered
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.graph.residue import Residue
from micgraph.graph.scratch import Scratch
from micgraph.graph.split import Split
from micgraph.graph.times import duration
from micgraph.graph.vector_search import Findings
from micgraph.schema import (
    CO_OCCURS,
    CONTAINS,
    ITEM,
    ITEM_ID,
    SIMILAR,
    USER,
    USER_ID,
    InputError,
)

if TYPE_CHECKING:
    pass


Edges = tuple[Numbered, dict[str, Relation], NDArray[np.bool_], dict[str, int], Residue | None]
"""What clicks make: numbers of users and items; ``clicks``, ``has``, ``contains`` and ``co_occurs``; which items have
clicks; what was cut of sessions; and what the relations lack of the log, None where that is not known."""


def build(log: Any, config: BuildConfig | Mapping[str, Any] | None = None, out: str | Path | None = None) -> RecGraph:
    """Build a graph from a log's events.

    Args:
        log: a :class:`Log`, or what :func:`read_log` takes: a path or a table. Split first, and build from
            ``split.train``: whatever is in the log is in the graph. To bound the memory, read it with the same
            ``memory_limit`` as it is built with. With Spark, the paths of Parquet files are read by it too; the events
            of a :class:`Log` that DuckDB has read are written to Parquet for it.
        config: settings, or those that differ from the defaults as a mapping: ``{"session_gap": "30m"}``.
        out: a directory to save the graph to, once it is whole.

    Returns:
        The graph. Nodes are numbered in the order of their external ids; the rows of ``clicks`` and ``contains``
        are ordered by (timestamp, ordinal, item id).

    Raises:
        ConfigError: an unknown setting, or one of the wrong type or out of range.
        InputError: the log has no event, its times span more than 68 years, it is a whole split, or items without
            clicks are to be kept and it has no table of items.
        MissingExtraError: Spark is asked for, and pyspark or Java is missing.
        SchemaError: a feature column has a type that cannot be a feature.
    """
    settings = as_config(config)
    if isinstance(log, Split):
        raise InputError("log", "one log", "a whole split", "pass split.train")
    log = log if isinstance(log, Log) else _read(log, settings)
    parent = _existing(None if out is None else Path(out))
    with room(parent, gettempdir()):
        if settings.memory_limit is not None:
            return _bounded(log, settings, None if out is None else Path(out), parent)
        graph = _graph(log, settings, None, parent)
        if out is not None:
            graph.save(out)
    return graph


def _read(source: Any, config: BuildConfig) -> Log:
    if is_path(source):
        return read_log(
            source, memory_limit=config.memory_limit, engine=config.engine, spark_master=config.spark_master
        )
    return read_log(source, memory_limit=config.memory_limit)


def _existing(out: Path | None) -> Path:
    """Where temporary folders are made: beside ``out``, or in the system's place for them."""
    return next(folder for folder in out.absolute().parents if folder.is_dir()) if out else Path(gettempdir())


def _bounded(log: Log, config: BuildConfig, out: Path | None, parent: Path) -> RecGraph:
    """A graph whose edges lie in files: those of ``out``, or unlinked ones that are gone with it."""
    with Scratch(parent, f"{out.name}-building" if out else "micgraph-building") as folder:
        graph = _graph(log, config, folder, parent)
        if out is not None:
            storage.map_edges(graph, storage.save(graph, out))
    return graph


def _graph(log: Log, config: BuildConfig, folder: Path | None, parent: Path) -> RecGraph:
    """The graph; with a folder, its edges lie in files that are unlinked there. Spark has a folder below ``parent``."""
    if config.keep_unclicked and log.items is None:
        raise InputError("log", "a table of items with keep_unclicked", "none", "read the log with items=")
    making = _by_spark if config.engine == "spark" else _edges
    events, relations, clicked, cuts, residue = making(log, config, folder, parent)
    catalogue = encode_fields(feature_table(log, "items"), events.items, ITEM_ID, clicked)
    people = encode_fields(feature_table(log, "users"), events.users, USER_ID)
    findings = Findings()
    found = semantic_edges(catalogue, config, findings)
    return RecGraph(
        relations=relations | ({} if found is None else {SIMILAR: found}),
        item_fields=catalogue.fields,
        user_fields=people.fields,
        users=events.users,
        items=events.items,
        item_vocab=catalogue.vocab,
        user_vocab=people.vocab,
        items_table=catalogue.table,
        epoch=events.epoch,
        refused=dict(log.refused) | notes(ITEM, catalogue) | notes(USER, people) | cuts | findings.notes,
        measured=findings.measured,
        config=settings_of(config),
        manifest=log.manifest,
        residue=None if residue is None else with_rows(residue, catalogue, people),
    )


def _edges(log: Log, config: BuildConfig, folder: Path | None, _: Path) -> Edges:
    gap, span = duration(config.session_gap), duration(config.session_span)
    with closing(Buffers(folder)) as buffers:
        with numbered(log, config.keep_unclicked) as events:
            relations, residue = interactions(events, part_rows(config.memory_limit), gap, span, buffers)
        baskets = distinct_baskets(relations[CONTAINS], config.max_pairs_per_session, buffers)
        relations[CO_OCCURS] = co_occurrences(baskets, config.co_occurs_top_k, buffers)
    return events, relations, np.diff(baskets.ptr) > 0, baskets.cuts, residue


def _by_spark(log: Log, config: BuildConfig, folder: Path | None, parent: Path) -> Edges:
    from micgraph.graph.spark.edges import Rules, edges

    gap, span = duration(config.session_gap), duration(config.session_span)
    limits = (config.co_occurs_top_k, config.max_pairs_per_session, part_rows(config.memory_limit))
    with closing(Buffers(folder)) as buffers:
        return edges(log, Rules(gap, span, config.keep_unclicked, *limits), config.spark_master, parent, buffers)
