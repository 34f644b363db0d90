"""build: from a log to a RecGraph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from micgraph.config import parse
from micgraph.graph import sessions
from micgraph.graph.baskets import distinct_baskets
from micgraph.graph.catalog import Encoded, encode_fields
from micgraph.graph.cooccurrence import co_occurrences
from micgraph.graph.events import Log, read_log
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.graph.semantic import SOURCES, similar
from micgraph.graph.split import Split
from micgraph.graph.times import duration
from micgraph.graph.titles import check_encoder
from micgraph.ids import IdMap
from micgraph.schema import (
    CATEGORY,
    CLICKS,
    CO_OCCURS,
    CONTAINS,
    HAS,
    ITEM_ID,
    SESSION_ID,
    SIMILAR,
    TAGS,
    TITLE,
    USER_ID,
    ConfigError,
    InputError,
    check_range,
    check_whole,
)

if TYPE_CHECKING:
    import pyarrow as pa

MICROS = 1_000_000

_USERS = "SELECT DISTINCT user_id FROM {events}"
_CLICKED = "SELECT DISTINCT item_id FROM {events}"
_CATALOGUE = "SELECT item_id FROM {events} UNION SELECT item_id FROM {items}"
_EVENTS = """
WITH u AS (SELECT user_id, row_number() OVER (ORDER BY user_id) - 1 AS n
           FROM ({users})),
     i AS (SELECT item_id, row_number() OVER (ORDER BY item_id) - 1 AS n
           FROM ({items}))
SELECT u.n AS user_index, i.n AS item_index, e.timestamp AS micros {session}
FROM {{events}} AS e JOIN u ON e.user_id = u.user_id JOIN i ON e.item_id = i.item_id
ORDER BY u.n, e.timestamp, e.ordinal, i.n
"""


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
        keep_unclicked: items of the items table that nobody has clicked are nodes too, so that they have vectors and
            can be recommended. They have their features and similarity edges but no id that a tower could learn: the
            id's code is 0, "never seen". Neither drawn negatives nor a softmax over the catalogue have them, since
            nobody is known to have passed them by.
            A split that drops rare items drops their clicks, not their rows.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    session_gap: str = "1h"
    session_span: str = "1h"
    co_occurs_top_k: int | None = None
    semantic: str | tuple[str, ...] | dict[str, float] = "auto"
    encode: Any = "tfidf"
    checkpoint: str | None = None
    semantic_k: int = 10
    keep_unclicked: bool = False

    def __post_init__(self) -> None:
        duration(self.session_gap, "session_gap")
        duration(self.session_span, "session_span")
        check_range(vars(self), "co_occurs_top_k semantic_k", at_least=1)
        check_whole("semantic_k", self.semantic_k)
        if self.co_occurs_top_k is not None:
            check_whole("co_occurs_top_k", self.co_occurs_top_k)
        named = isinstance(self.semantic, (list, tuple, dict)) and all(source in SOURCES for source in self.semantic)
        if self.semantic != "auto" and not named:
            expected = f"'auto' or a list of {SOURCES}, or a mapping of them to weights"
            raise ConfigError("semantic", expected, repr(self.semantic), "name some of these")
        if isinstance(self.semantic, dict):
            check_range({"semantic": list(self.semantic.values())}, "semantic", above=0)
        check_encoder(self.encode, self.checkpoint)


def build(log: Any, config: BuildConfig | Mapping[str, Any] | None = None, out: str | Path | None = None) -> RecGraph:
    """Build a graph from a log's events.

    Args:
        log: a :class:`Log`, or what :func:`read_log` takes: a path or a table. Split first, and build from
            ``split.train``: whatever is in the log is in the graph.
        config: settings, or those that differ from the defaults as a mapping: ``{"session_gap": "30m"}``.
        out: a directory to save the graph to, once it is whole.

    Returns:
        The graph. Nodes are numbered in the order of their external ids; the rows of ``clicks`` and ``contains``
        are ordered by (timestamp, ordinal, item id).

    Raises:
        ConfigError: an unknown setting, or one of the wrong type or out of range.
        InputError: the log has no event, its times span more than 68 years, it is a whole split, or items without
            clicks are to be kept and it has no table of items.
        SchemaError: a feature column has a type that cannot be a feature.
    """
    settings = _as_config(config)
    if isinstance(log, Split):
        raise InputError("log", "one log", "a whole split", "pass split.train")
    log = log if isinstance(log, Log) else read_log(log)
    graph = _graph(log, settings)
    if out is not None:
        graph.save(out)
    return graph


def _as_config(config: Any) -> BuildConfig:
    if config is None or isinstance(config, BuildConfig):
        return config or BuildConfig()
    if not isinstance(config, Mapping):
        remedy = 'write it as {"session_gap": "30m"}'
        raise ConfigError("config", "a BuildConfig or a mapping of settings", repr(config), remedy)
    return parse(BuildConfig, config)


def _graph(log: Log, config: BuildConfig) -> RecGraph:
    if config.keep_unclicked and log.items is None:
        raise InputError("log", "a table of items with keep_unclicked", "none", "read the log with items=")
    item_sql = _CATALOGUE if config.keep_unclicked else _CLICKED
    events = _events(log, item_sql)
    users, items = _ids(log, _USERS, USER_ID), _ids(log, item_sql, ITEM_ID)
    relations, epoch = _interactions(events, len(users), len(items), config)
    relations[CO_OCCURS] = co_occurrences(distinct_baskets(relations[CONTAINS]), config.co_occurs_top_k)
    clicked = np.bincount(relations[CLICKS].col.numpy(), minlength=len(items)) > 0
    catalogue = encode_fields(_table(log, "items"), items, ITEM_ID, clicked)
    people = encode_fields(_table(log, "users"), users, USER_ID)
    if sources := _sources(catalogue, config):
        titles, k = _titles(catalogue), config.semantic_k
        relations[SIMILAR] = similar(catalogue.fields, titles, sources, config.encode, k, config.checkpoint)
    return RecGraph(
        relations=relations,
        item_fields=catalogue.fields,
        user_fields=people.fields,
        users=users,
        items=items,
        item_vocab=catalogue.vocab,
        user_vocab=people.vocab,
        items_table=catalogue.table,
        epoch=epoch,
        refused=dict(log.refused) | _notes("item", catalogue) | _notes("user", people),
        config=_settings(config),
        manifest=log.manifest,
    )


def _ids(log: Log, query: str, key: str) -> IdMap:
    return IdMap(log.sql(f"{query} ORDER BY {key}")[key].combine_chunks())


def _events(log: Log, item_sql: str) -> pa.Table:
    session = ", e.session_id" if SESSION_ID in log.columns else ""
    events = log.sql(_EVENTS.format(session=session, users=_USERS, items=item_sql))
    if not len(events):
        got = f"none ({', '.join(f'{n:,} {reason}' for reason, n in log.refused.items()) or 'an empty source'})"
        raise InputError("log", "at least one event", got, "check the source, positive_events and the split")
    return events


def _interactions(events: pa.Table, n_users: int, n_items: int, config: BuildConfig) -> tuple[dict[str, Relation], int]:
    """clicks, has and contains, and the epoch in seconds."""
    user, item, micros = (_numpy(events, name) for name in ("user_index", "item_index", "micros"))
    second = micros // MICROS
    epoch = int(second.min())
    if int(second.max()) - epoch >= 2**31:
        raise InputError("timestamp", "times within 68 years", "a longer span", "check time_unit, or filter the log")
    time = torch.from_numpy((second - epoch).astype(np.int32))
    col = torch.from_numpy(item.astype(np.int32))
    given = events[SESSION_ID] if SESSION_ID in events.column_names else None
    gap, span = duration(config.session_gap), duration(config.session_span)
    session = sessions.assign(user, micros, given, gap, span)
    order = np.argsort(session, kind="stable")
    first = order[np.flatnonzero(np.diff(session[order], prepend=-1))]
    count, by_session = len(first), torch.from_numpy(order)
    has_col = torch.arange(count, dtype=torch.int32)
    return {
        CLICKS: Relation(_indptr(user, n_users), col, n_items, time=time),
        HAS: Relation(_indptr(user[first], n_users), has_col, count, time=time[torch.from_numpy(first)]),
        CONTAINS: Relation(_indptr(session, count), col[by_session], n_items, time=time[by_session]),
    }, epoch


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


def _notes(kind: str, encoded: Encoded) -> dict[str, int]:
    if encoded.table is None:
        return {}
    notes = {
        f"{kind} row: its id has no event": encoded.unknown,
        f"{kind} row: its id came before": encoded.duplicate,
        f"{kind} without a row: features unknown": encoded.missing,
    }
    return {reason: count for reason, count in notes.items() if count}


def _settings(config: BuildConfig) -> dict[str, Any]:
    encode = config.encode if isinstance(config.encode, str) else getattr(config.encode, "__qualname__", "callable")
    return asdict(config) | {"encode": encode}


def _table(log: Log, name: str) -> pa.Table | None:
    return None if getattr(log, name) is None else log.sql(f"SELECT * FROM {{{name}}}")


def _numpy(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(table[name].to_numpy(), dtype=np.int64)


def _indptr(rows: NDArray[np.int64], n: int) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]))
