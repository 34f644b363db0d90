"""What feature tables give a graph beside fields: similar items, notes of rows, and what is left for later."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from micgraph.graph.build_config import BuildConfig
from micgraph.graph.catalog import Encoded
from micgraph.graph.events import Log
from micgraph.graph.relation import Relation
from micgraph.graph.residue import Residue
from micgraph.graph.semantic import SOURCES, similar
from micgraph.graph.vector_search import Findings
from micgraph.schema import CATEGORY, ITEM, TAGS, TITLE, USER

if TYPE_CHECKING:
    import pyarrow as pa

NO_EVENT, NO_ROW = "row: its id has no event", "without a row: features unknown"


def semantic_edges(catalogue: Encoded, config: BuildConfig, findings: Findings) -> Relation | None:
    """The relation ``similar`` of items, None where they have nothing to be similar by; ``findings`` is filled in."""
    titles = _titles(catalogue)
    if not (sources := sources_of(config.semantic, catalogue.fields, any(titles))):
        return None
    how = (config.encode, config.semantic_k, config.checkpoint, config.semantic_search)
    return similar(catalogue.fields, titles, sources, *how, findings)


def sources_of(
    semantic: str | Sequence[str] | dict[str, float], fields: Container[str], titled: bool
) -> tuple[str, ...] | dict[str, float]:
    """What items are similar by.

    Args:
        semantic: the setting of :class:`micgraph.BuildConfig`.
        fields: those that items have.
        titled: whether any item has a title.
    """
    if isinstance(semantic, dict):
        return semantic
    if semantic != "auto":
        return tuple(semantic)
    found = [source for source in SOURCES if source in fields or (source == TITLE and titled)]
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
