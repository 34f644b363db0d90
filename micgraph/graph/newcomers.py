"""A graph with items that nobody has clicked, added from their rows to what is built and trained."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from micgraph.graph.catalog import encode_rows, readable
from micgraph.graph.fields import Field, Fields
from micgraph.graph.growth import stacked
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.graph.row_check import check_rows
from micgraph.ids import IdMap, as_array, kind_of
from micgraph.schema import EDGE_TYPES, ITEM, ITEM_ID, InputError, SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger(__name__)


def with_new_items(graph: RecGraph, table: pa.Table) -> RecGraph:
    """The graph with more items, behind those that it has, in the order of their ids.

    They have no edges, the code 0 of an unknown id, and of their other fields what the graph's vocabularies say: a new
    value has code 0 too, and numbers are standardised as those of the graph. A warning counts values that are new.
    Nothing can be appended to the new graph: its log has no such items.

    Args:
        graph: as it was built; it stays as it is.
        table: ``item_id`` and columns as in the table of items that the graph was built with; some may be missing.

    Raises:
        SchemaError: no ``item_id``, ids or a column of another type, a column that the graph does not have, a value
            that its column cannot have, or vectors of another length.
        InputError: no row, a null or repeated id, or one that the graph has; or a graph without external ids.
    """
    if graph.items is None:
        raise InputError("graph", "a graph with external ids", "a graph without them", "load it where pyarrow is")
    items = _numbered(graph.items, table)
    table, had = readable(table, ITEM_ID), None if graph.items_table is None else graph.items_table.schema
    check_rows("items", table, graph.item_fields, list(graph.item_fields) if had is None else had.names, had)
    table = table.take(np.argsort(items.index(table[ITEM_ID])))
    added = _encoded(graph, table)
    fields = {name: _joined(old, added[name]) for name, old in graph.item_fields.items()}
    known = None if graph.items_table is None else _names(graph.items_table, table)
    relations = {name: _widened(name, rel, len(table)) for name, rel in graph.relations.items()}
    return replace(graph, relations=relations, item_fields=fields, items=items, items_table=known, residue=None)


def last_rows(graph: RecGraph, n: int) -> pa.Table:
    """The rows of the last ``n`` items, as far as the graph keeps them: ``item_id`` at least."""
    import pyarrow as pa

    assert graph.items is not None
    start = len(graph.items) - n
    if graph.items_table is not None:
        return graph.items_table.slice(start)
    return pa.table({ITEM_ID: graph.items.values.slice(start)})


def with_waiting(graph: RecGraph, rows: pa.Table) -> RecGraph:
    """The graph with rows of items that have no event yet, for a later log that has one.

    :func:`micgraph.graph.appending.appended` uses them as it does rows of an earlier log whose items had no event.

    Args:
        graph: with its residue; one without a table of items has no use for rows.
        rows: each id once. Those that the graph knows, or has a waiting row of, are left out.
    """
    import pyarrow as pa

    residue = graph.residue
    if residue is None or graph.items is None or graph.items_table is None or not len(rows):
        return graph
    known, waiting = graph.items, residue.waiting.get(ITEM)
    known = known if waiting is None else known.extend(waiting[ITEM_ID])
    rows = rows.filter(pa.array(known.index(rows[ITEM_ID]) < 0))
    rows = rows if waiting is None else stacked(waiting, rows)
    return replace(graph, residue=replace(residue, waiting=residue.waiting | ({ITEM: rows} if len(rows) else {})))


def _numbered(items: IdMap, table: pa.Table) -> IdMap:
    if ITEM_ID not in table.column_names:
        raise SchemaError(ITEM_ID, f"a column {ITEM_ID!r}", table.column_names, "name the column of the ids so")
    ids = as_array(table[ITEM_ID])
    if len(ids) and kind_of(ids.type) != items.kind:
        raise SchemaError(ITEM_ID, items.describe(), f"{kind_of(ids.type)}", "pass ids of the graph's kind")
    if not len(ids) or ids.null_count:
        got = f"{ids.null_count} nulls" if len(ids) else "no row"
        raise InputError(ITEM_ID, "an id for every new item, and at least one", got, "leave such rows out")
    index = items.index(ids)
    if (index >= 0).any():
        raise InputError(
            ITEM_ID, "items that are new", f"known ones: {_some(items.ids(index[index >= 0]))}", "drop them"
        )
    extended = items.extend(ids)
    if len(extended) - len(items) < len(ids):
        number, count = np.unique(extended.index(ids), return_counts=True)
        got = f"more than one row of {_some(extended.ids(number[count > 1]))}"
        raise InputError(ITEM_ID, "one row an item", got, "keep one of them")
    return extended


def _some(ids: pa.Array) -> str:
    shown = ", ".join(repr(value) for value in ids[:5].to_pylist())
    return shown + (f" and {len(ids) - 5:,} more" if len(ids) > 5 else "")


def _encoded(graph: RecGraph, table: pa.Table) -> Fields:
    """The fields of the rows, all of them new items; tells of values that are unknown to them."""
    assert graph.items is not None
    fields = encode_rows(table, graph.item_fields, graph.item_vocab, graph.items, ITEM_ID)
    for name, one in list(fields.items())[1:]:
        if one.kind in ("categorical", "multi") and name in table.column_names:
            had = one.values if one.kind == "multi" else one.values[torch.from_numpy(_given(table[name]))]
            if unknown := int((had == 0).sum()):
                _LOG.warning("new items: %d of %d values of %s are unknown to the graph", unknown, len(had), name)
    return fields


def _given(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(column.is_valid().to_numpy(), dtype=bool)


def _joined(old: Field, new: Field) -> Field:
    values = torch.cat([old.values, new.values.to(old.values.device)])
    if old.offsets is None or new.offsets is None:
        return replace(old, values=values)
    behind = new.offsets[1:].to(old.offsets.device) + old.offsets[-1]
    return replace(old, values=values, offsets=torch.cat([old.offsets, behind]))


def _names(old: pa.Table, new: pa.Table) -> pa.Table:
    """The raw rows of all items, of the columns that the graph has."""
    return stacked(old, new.select([name for name in new.column_names if name in old.column_names]))


def _widened(name: str, rel: Relation, n: int) -> Relation:
    """The relation with ``n`` more items, which have no edges."""
    source, _, target = EDGE_TYPES[name]
    indptr = rel.indptr
    if source == ITEM:
        end: Tensor = indptr[-1:]
        indptr = torch.cat([indptr, end.expand(n)])
    return replace(rel, indptr=indptr, n_cols=rel.n_cols + n * (target == ITEM))
