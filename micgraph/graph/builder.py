"""build: from a log to a RecGraph."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from micgraph.config import parse
from micgraph.graph import storage
from micgraph.graph.baskets import distinct_baskets
from micgraph.graph.buffers import Buffers
from micgraph.graph.catalog import Encoded, encode_fields
from micgraph.graph.cooccurrence import co_occurrences
from micgraph.graph.engines import EngineName, check_engine
from micgraph.graph.events import Log, read_log
from micgraph.graph.ingest import is_path
from micgraph.graph.interactions import interactions
from micgraph.graph.memory import memory, part_rows
from micgraph.graph.numbering import Numbered, numbered
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.graph.residue import Residue
from micgraph.graph.scratch import Scratch
from micgraph.graph.semantic import SOURCES, similar
from micgraph.graph.split import Split
from micgraph.graph.times import duration
from micgraph.graph.titles import check_encoder
from micgraph.graph.vector_search import SEARCHES, Findings
from micgraph.schema import (
    CATEGORY,
    CO_OCCURS,
    CONTAINS,
    ITEM,
    ITEM_ID,
    SIMILAR,
    TAGS,
    TITLE,
    USER,
    USER_ID,
    ConfigError,
    InputError,
    check_range,
    check_whole,
)

if TYPE_CHECKING:
    import pyarrow as pa


NO_EVENT, NO_ROW = "row: its id has no event", "without a row: features unknown"
Edges = tuple[Numbered, dict[str, Relation], NDArray[np.bool_], dict[str, int], Residue | None]
"""What clicks make: numbers of users and items; ``clicks``, ``has``, ``contains`` and ``co_occurs``; which items have
clicks; what was cut of sessions; and what the relations lack of the log, None where that is not known."""


@dataclass(frozen=True)
class BuildConfig:
    """Settings of :func:`build`.

    Attributes:
        session_gap: a longer pause ends a session, where the log gives none.
        session_span: no session lasts longer than this.
        co_occurs_top_k: keep each item's largest co-occurrence counts only; all by default.
        semantic: where similarity edges come from: any of "embedding", "title", "tags", "category"; ``"auto"``
            takes those the items have, with the category only where there are no tags. A mapping such as
            ``{"title": 3, "tags": 1}`` mixes them: positives come from each in proportion to its weight.
        encode: how titles become vectors: "tfidf", "wordllama", "sentence-transformers" or a callable (list of
            texts -> array).
        checkpoint: the local folder of the sentence-transformers model; nothing is downloaded.
        semantic_k: similar items per item and source.
        semantic_search: how vectors of items (embeddings, encoded titles) are compared: "exact" is every pair; "ivf" is
            approximate, by FAISS, with the share of the true neighbours that it finds in the graph's ``measured``;
            "auto" takes it for more than 100,000 distinct vectors, where FAISS is installed. tf-idf, tags and
            categories are always exact.
        keep_unclicked: items of the items table that nobody has clicked are nodes too, so that they have vectors and
            can be recommended. They have their features and similarity edges but no id that a tower could learn: the
            id's code is 0, "never seen". Neither drawn negatives nor a softmax over the catalogue have them, since
            nobody is known to have passed them by.
            A split that drops rare items drops their clicks, not their rows.
        max_pairs_per_session: a session with more ordered pairs of distinct items only counts those of neighbours in
            time, as far apart as this number allows. What is cut is counted in ``refused``. All by default.
        memory_limit: such as "4GB": no more than this, and what Python and the libraries take themselves, some 500 MB,
            is in memory; the rest lies in temporary files beside ``out``. It covers what grows with the number of
            events, not features and semantic edges. The graph is the same with and without.
        engine: what makes clicks, sessions and co-occurrence: "duckdb", on this machine, or "spark", which writes
            Parquet files into a temporary folder beside ``out``; this machine loads them part by part. Every executor
            must see that folder under the same path. The graph is the same.
        spark_master: such as "spark://host:7077" or "local[2]": a session is started there and stopped in the end.
            By default the active Spark session is used.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    session_gap: str = "1h"
    session_span: str = "1h"
    co_occurs_top_k: int | None = None
    semantic: str | tuple[str, ...] | dict[str, float] = "auto"
    encode: Any = "tfidf"
    checkpoint: str | None = None
    semantic_k: int = 10
    semantic_search: str = "auto"
    keep_unclicked: bool = False
    max_pairs_per_session: int | None = None
    memory_limit: str | None = None
    engine: EngineName = "duckdb"
    spark_master: str | None = None

    def __post_init__(self) -> None:
        duration(self.session_gap, "session_gap")
        duration(self.session_span, "session_span")
        check_engine(self.engine, self.spark_master)
        check_range(vars(self), "co_occurs_top_k semantic_k max_pairs_per_session", at_least=1)
        check_whole("semantic_k", self.semantic_k)
        for name in ("co_occurs_top_k", "max_pairs_per_session"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        if self.memory_limit is not None:
            memory(self.memory_limit)
        named = isinstance(self.semantic, (list, tuple, dict)) and all(source in SOURCES for source in self.semantic)
        if self.semantic != "auto" and not named:
            expected = f"'auto' or a list of {SOURCES}, or a mapping of them to weights"
            raise ConfigError("semantic", expected, repr(self.semantic), "name some of these")
        if isinstance(self.semantic, dict):
            check_range({"semantic": list(self.semantic.values())}, "semantic", above=0)
        check_encoder(self.encode, self.checkpoint)
        if self.semantic_search not in SEARCHES:
            expected = "one of " + ", ".join(SEARCHES)
            raise ConfigError("semantic_search", expected, repr(self.semantic_search), "choose one of them")


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
    settings = _as_config(config)
    if isinstance(log, Split):
        raise InputError("log", "one log", "a whole split", "pass split.train")
    log = log if isinstance(log, Log) else _read(log, settings)
    parent = _existing(None if out is None else Path(out))
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


def _as_config(config: Any) -> BuildConfig:
    if config is None or isinstance(config, BuildConfig):
        return config or BuildConfig()
    if not isinstance(config, Mapping):
        remedy = 'write it as {"session_gap": "30m"}'
        raise ConfigError("config", "a BuildConfig or a mapping of settings", repr(config), remedy)
    return parse(BuildConfig, config)


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
        config=_settings(config),
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


def semantic_edges(catalogue: Encoded, config: BuildConfig, findings: Findings) -> Relation | None:
    """The relation ``similar`` of items, None where they have nothing to be similar by; ``findings`` is filled in."""
    if not (sources := _sources(catalogue, config)):
        return None
    how = (config.encode, config.semantic_k, config.checkpoint, config.semantic_search)
    return similar(catalogue.fields, _titles(catalogue), sources, *how, findings)


def _sources(catalogue: Encoded, config: BuildConfig) -> tuple[str, ...] | dict[str, float]:
    if isinstance(config.semantic, dict):
        return config.semantic
    if config.semantic != "auto":
        return tuple(config.semantic)
    found = [
        source for source in SOURCES if source in catalogue.fields or (source == TITLE and any(_titles(catalogue)))
    ]
    if TAGS in found and CATEGORY in found:
        found.remove(CATEGORY)
    return tuple(found)


def _titles(catalogue: Encoded) -> list[str | None]:
    if catalogue.table is None or TITLE not in catalogue.table.column_names:
        return []
    return [None if text is None else str(text) for text in catalogue.table[TITLE].to_pylist()]


def notes(kind: str, encoded: Encoded) -> dict[str, int]:
    """What a graph says in ``refused`` of the feature table of a node type."""
    if encoded.table is None:
        return {}
    notes = {
        f"{kind} {NO_EVENT}": encoded.unknown,
        f"{kind} row: its id came before": encoded.duplicate,
        f"{kind} {NO_ROW}": encoded.missing,
    }
    return {reason: count for reason, count in notes.items() if count}


def _settings(config: BuildConfig) -> dict[str, Any]:
    encode = config.encode if isinstance(config.encode, str) else getattr(config.encode, "__qualname__", "callable")
    return asdict(config) | {"encode": encode}


def with_rows(residue: Residue, catalogue: Encoded, people: Encoded) -> Residue:
    """The residue with what the feature tables leave."""
    both = {ITEM: catalogue, USER: people}
    return replace(
        residue,
        users_table=people.table,
        waiting={kind: found.waiting for kind, found in both.items() if found.waiting is not None},
        without_row={kind: found.without_row for kind, found in both.items() if found.without_row is not None},
    )


def feature_table(log: Log, name: str) -> pa.Table | None:
    """The log's table of ``"items"`` or ``"users"``, None where it has none."""
    return None if getattr(log, name) is None else log.sql(f"SELECT * FROM {{{name}}}")
