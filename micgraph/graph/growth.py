"""A graph's features after a new log: rows that came, values nobody had before. Old codes keep their meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.graph.catalog import Encoded, Vocab, encode_aligned, kind_of, readable
from micgraph.graph.fields import Field
from micgraph.schema import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

    from micgraph.ids import IdMap


@dataclass(frozen=True)
class Known:
    """What a graph has of the users or the items.

    Attributes:
        identity: the field of the id.
        vocab: of the other fields.
        table: raw rows in internal order, or None.
        waiting: rows whose id is no node, or None.
        without_row: int32 [M], nodes that have no row in ``table``, or None.
    """

    identity: Field
    vocab: Vocab = field(default_factory=dict)
    table: pa.Table | None = None
    waiting: pa.Table | None = None
    without_row: Tensor | None = None


def grown(known: Known, new: pa.Table | None, ids: IdMap, seen: NDArray[np.bool_] | None = None) -> Encoded:
    """The features of all nodes of ``ids``, those of ``known`` first.

    A row of the new table takes the place of an earlier row of its id. Numbers are standardised anew, as the mean and
    the deviation of all of them are others.

    Args:
        new: the log's feature table, each id once, or None.
        seen: bool [n], nodes whose id a tower can learn; all by default. Those that can be learnt for the first time
            get the next codes, in the order of their numbers.

    Raises:
        SchemaError: a column is of another kind than the graph's, or cannot be a feature.
    """
    identity = _identity(known.identity, len(ids), seen)
    name = identity.name
    rows = [table for table in (known.table, known.waiting) if table is not None]
    rows += [] if new is None else [readable(new, name)]
    if not rows:
        return Encoded({name: identity}, missing=len(ids))
    table = rows[0]
    for more in rows[1:]:
        table = stacked(table, more)
    valid = np.ones(len(table), dtype=bool)
    if known.without_row is not None:
        valid[known.without_row.numpy()] = False
    index = ids.index(table[name])
    at = np.flatnonzero(valid & (index >= 0))
    place = np.full(len(ids), -1, dtype=np.int64)
    np.maximum.at(place, index[at], at)  # the latest row of each
    waiting = _latest(table.filter(index < 0), name) if (index < 0).any() else None
    return encode_aligned(identity, table, place, ids, waiting, known=known.vocab)


def _identity(old: Field, n: int, seen: NDArray[np.bool_] | None) -> Field:
    code = np.zeros(n, dtype=np.int32)
    code[: len(old)] = old.values.numpy()
    first = np.flatnonzero(code == 0 if seen is None else seen & (code == 0))
    code[first] = np.arange(old.size, old.size + len(first))
    return Field(old.name, old.kind, old.size + len(first), torch.from_numpy(code))


def _latest(rows: pa.Table, id_name: str) -> pa.Table:
    """The last row of each id."""
    from micgraph.ids import IdMap

    ids = rows[id_name].combine_chunks()
    number = IdMap.build(ids).index(ids)
    last = np.zeros(number.max() + 1, dtype=np.int64)
    np.maximum.at(last, number, np.arange(len(rows)))
    return rows.take(last)


def stacked(top: pa.Table, below: pa.Table) -> pa.Table:
    """The rows of two tables; a column that one of them lacks is null there.

    Raises:
        SchemaError: a column is of another kind in the second one.
    """
    import pyarrow as pa

    columns = {}
    for name in dict.fromkeys((*top.column_names, *below.column_names)):
        first, second = (
            t[name] if name in t.column_names else pa.chunked_array([pa.nulls(len(t))]) for t in (top, below)
        )
        first, second = _alike(name, _plain(first), _plain(second))
        columns[name] = pa.chunked_array([*first.chunks, *second.chunks], first.type)
    return pa.table(columns)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _alike(name: str, old: pa.ChunkedArray, new: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Two columns in one type: the old one's, or doubles for numbers that it does not hold."""
    import pyarrow as pa

    if old.type == new.type:
        return old, new
    if pa.types.is_null(old.type):
        return old.cast(new.type), new
    if not pa.types.is_null(new.type) and kind_of(name, old.type) != kind_of(name, new.type):
        raise SchemaError(name, f"{old.type} as in the graph", str(new.type), "cast the column")
    try:
        cast = new.cast(old.type)
        if _foreign(old, new, cast):
            got = f"{new.type}, none of whose values it has"
            raise SchemaError(name, f"{old.type} as in the graph", got, "give the codes that the graph was built with")
        return old, cast
    except pa.ArrowException as error:
        if kind_of(name, old.type) != "dense" or pa.types.is_temporal(old.type) or pa.types.is_temporal(new.type):
            raise SchemaError(name, f"{old.type} as in the graph", str(new.type), "cast the column") from error
        return old.cast(pa.float64()), new.cast(pa.float64())


def _foreign(old: pa.ChunkedArray, new: pa.ChunkedArray, cast: pa.ChunkedArray) -> bool:
    """Whether numbers came for texts, or texts for numbers, and not one of them is known: other codes, and not a file
    whose texts of digits were read as numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from micgraph.ids import is_text

    if is_text(old.type) == is_text(new.type) or new.null_count == len(new) or pa.types.is_nested(old.type):
        return False
    return not pc.any(pc.is_in(cast, value_set=old.unique().drop_null())).as_py()
