"""Feature tables of items and users as :class:`Fields`, and the vocabularies to encode newcomers the same way."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from micgraph.graph.fields import Field, Fields, Kind
from micgraph.graph.tags import with_tag_lists
from micgraph.schema import CATEGORY, EMBEDDING, ITEM_ID, PROVIDER, TITLE, SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

    from micgraph.ids import IdMap

Vocab = dict[str, "pa.Array"]
"""Column -> its sorted values, code = place + 1 (categorical, multi); or [mean, standard deviation] (dense)."""


IN_WORDS: dict[Kind, str] = {
    "categorical": "texts",
    "multi": "lists of texts",
    "dense": "numbers or times",
    "embedding": "lists of numbers",
}
"""What a column must hold that becomes a field of a kind."""


@dataclass(frozen=True)
class Encoded:
    """A feature table in the graph's order.

    Attributes:
        fields: the id first, then the table's columns in their order.
        vocab: what :func:`encode_rows` needs.
        table: the raw rows, one a node (nulls where the table had none), or None.
        unknown: rows whose id the graph does not have.
        duplicate: rows whose id came before.
        missing: nodes without a row.
        waiting: those rows whose id the graph does not have, or None where there are none.
        without_row: int32 [missing], these nodes; None where there are none, or no table.
    """

    fields: Fields
    vocab: Vocab = field(default_factory=dict)
    table: pa.Table | None = None
    unknown: int = 0
    duplicate: int = 0
    missing: int = 0
    waiting: pa.Table | None = None
    without_row: Tensor | None = None


def encode_fields(table: pa.Table | None, ids: IdMap, id_name: str, seen: NDArray[np.bool_] | None = None) -> Encoded:
    """Encode a feature table for all nodes of ``ids``.

    Strings, booleans and the columns ``category`` and ``provider`` become categorical fields, lists of them
    multi-valued, other numbers and times dense, lists of floats embeddings. ``title`` is text, not a field. An
    item's ``tags`` are lists, also where they come as text. A column without any value is no field.

    Args:
        table: any columns beside ``id_name``; or None: the id is the only field.
        ids: the graph's nodes.
        id_name: ``"item_id"`` or ``"user_id"``.
        seen: bool [n], nodes whose id a tower can learn; the code of the others is 0. All by default.

    Raises:
        SchemaError: the id column is missing, or a column has a type that cannot be a feature.
    """
    seen = np.ones(len(ids), dtype=bool) if seen is None else seen
    code = np.where(seen, np.cumsum(seen), 0).astype(np.int32)
    identity = Field(id_name, "categorical", int(seen.sum()) + 1, torch.from_numpy(code))
    if table is None:
        return Encoded({id_name: identity}, missing=len(ids))
    if id_name not in table.column_names:
        raise SchemaError(id_name, f"a column {id_name!r}", table.column_names, "name it through columns={...}")
    table = readable(table, id_name)
    index = ids.index(table[id_name])
    rows = np.flatnonzero(index >= 0)
    known, first = np.unique(index[rows], return_index=True)
    place = np.full(len(ids), -1, dtype=np.int64)
    place[known] = rows[first]
    waiting = table.filter(index < 0) if len(rows) < len(index) else None
    return encode_aligned(identity, table, place, ids, waiting, len(rows) - len(known))


def encode_aligned(
    identity: Field,
    table: pa.Table,
    place: NDArray[np.int64],
    ids: IdMap,
    waiting: pa.Table | None,
    duplicate: int = 0,
    known: Vocab | None = None,
) -> Encoded:
    """Encode the rows of a readable table that are the nodes of ``ids``.

    Args:
        identity: the field of the id.
        place: int64 [n], each node's row in ``table``, -1 for none.
        waiting, duplicate: see :class:`Encoded`.
        known: vocabularies whose codes stay; values that they lack get the next ones.
    """
    import pyarrow as pa

    aligned = table.take(pa.array(place, mask=place < 0))
    aligned = aligned.set_column(aligned.column_names.index(identity.name), identity.name, ids.values)
    fields, vocab = _learn_fields(aligned, identity.name, ids.order(), known or {})
    unknown, absent = 0 if waiting is None else len(waiting), torch.from_numpy(np.flatnonzero(place < 0))
    return Encoded(
        fields={identity.name: identity, **fields},
        vocab=vocab,
        table=aligned,
        unknown=unknown,
        duplicate=duplicate,
        missing=len(absent),
        waiting=waiting,
        without_row=absent.int() if len(absent) else None,
    )


def _learn_fields(aligned: pa.Table, id_name: str, order: NDArray[np.int64], known: Vocab) -> tuple[Fields, Vocab]:
    """The fields of all columns but the id and the title, and their vocabularies. Numbers are summed in ``order``."""
    fields: Fields = {}
    vocab: Vocab = {}
    for name in (c for c in aligned.column_names if c not in (id_name, TITLE)):
        kind, values = _read(aligned[name], name, id_name)
        if values.null_count < len(values) or name in known:
            if kind != "embedding":
                vocab[name] = _learn(values.take(order) if kind == "dense" else values, kind, known.get(name))
            fields[name] = _encode(name, kind, values, vocab.get(name), _width(name, kind, values, vocab))
    return fields, vocab


def _read(column: Any, name: str, id_name: str) -> tuple[Kind, pa.Array]:
    """The kind of field that a column becomes, and its values as the encoder of that kind reads them."""
    import pyarrow as pa

    kind = kind_of(name, column.type)
    try:
        return kind, plain(column, kind)
    except pa.ArrowException as error:
        place = f"{'items' if id_name == ITEM_ID else 'users'}.{name}"
        got = f"{column.type} ({error})"
        raise SchemaError(place, IN_WORDS[kind], got, "correct the values, or cast or drop the column") from error


def encode_rows(table: pa.Table, fields: Fields, vocab: Vocab, ids: IdMap, id_name: str) -> Fields:
    """Encode rows as the graph's fields are: users or items that the graph may never have seen.

    Args:
        table: [B] rows; columns may be missing, and values that the graph does not know get code 0.
        fields, vocab: the graph's.

    Returns:
        The same fields in the same order, of B nodes.
    """
    import pyarrow as pa

    table = readable(table, id_name)
    index = ids.index(table[id_name]) if id_name in table.column_names else np.full(len(table), -1)
    codes = torch.cat([fields[id_name].values.cpu(), torch.zeros(1, dtype=torch.int32)])  # -1 reads the last one
    new: Fields = {id_name: replace(fields[id_name], values=codes[torch.from_numpy(index)])}
    for name, old in list(fields.items())[1:]:
        values = table[name] if name in table.column_names else pa.nulls(len(table))
        new[name] = _encode(name, old.kind, plain(values, old.kind), vocab.get(name), old.size)
    return new


def readable(table: pa.Table, id_name: str) -> pa.Table:
    """Tags of items as lists, and booleans as such: DuckDB's are an extension type that few Arrow functions know."""
    import pyarrow as pa

    schema = [f.with_type(pa.bool_()) if str(f.type) == "extension<arrow.bool8>" else f for f in table.schema]
    table = table.cast(pa.schema(schema))
    return with_tag_lists(table) if id_name == ITEM_ID else table


def kind_of(name: str, kind: pa.DataType) -> Kind:
    """The kind of field that a column of this type becomes.

    Raises:
        SchemaError: a type that cannot be a feature.
    """
    import pyarrow.types as t

    from micgraph.ids import is_text

    if t.is_dictionary(kind):
        kind = kind.value_type
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        return "embedding" if name == EMBEDDING or t.is_floating(kind.value_type) else "multi"
    if name == EMBEDDING and not t.is_null(kind):
        remedy = "give them as lists, which CSV files do not have, or name the column otherwise"
        raise SchemaError(name, IN_WORDS["embedding"], str(kind), remedy)
    if name in (CATEGORY, PROVIDER) or is_text(kind) or t.is_boolean(kind) or t.is_null(kind):
        return "categorical"
    if t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind) or t.is_timestamp(kind) or t.is_date(kind):
        return "dense"
    raise SchemaError(name, "text, a number, a boolean, a time or a list of them", str(kind), "drop or cast the column")


def plain(column: Any, kind: Kind) -> pa.Array:
    """One array of a type that the kind's encoder reads: strings, lists of strings, doubles, lists of floats.

    Raises:
        ArrowException: a value that cannot be one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if t.is_dictionary(values.type):
        values = values.dictionary_decode()
    if kind == "dense":
        if t.is_timestamp(values.type) or t.is_date(values.type):
            values = values.cast(pa.timestamp("us")).cast(pa.int64())
        values = values.cast(pa.float64())
        return pc.if_else(pc.is_finite(values), values, None)
    inner = {"categorical": pa.large_string(), "multi": pa.list_(pa.large_string())}
    return values.cast(inner.get(kind, pa.list_(pa.float32())))


def _learn(values: pa.Array, kind: Kind, before: pa.Array | None) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "dense":
        numbers = values.drop_null().to_numpy()
        return pa.array([numbers.mean(), numbers.std() or 1.0]) if len(numbers) else before
    distinct = pc.unique(values.flatten() if kind == "multi" else values).drop_null()
    if before is not None:
        distinct = distinct.filter(pc.invert(pc.is_in(distinct, value_set=before)))
    new = distinct.take(pc.sort_indices(distinct))
    return new if before is None else pa.concat_arrays([before, new])


def _width(name: str, kind: Kind, values: pa.Array, vocab: Vocab) -> int:
    import pyarrow.compute as pc

    if kind != "embedding":
        return 1 if kind == "dense" else len(vocab[name]) + 1
    lengths = pc.unique(pc.list_value_length(values).drop_null()).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        raise SchemaError(name, "vectors of one length", f"lengths {sorted(lengths)[:5]}", "pad or drop the others")
    return int(lengths[0])


def _encode(name: str, kind: Kind, values: pa.Array, vocab: pa.Array | None, size: int) -> Field:
    import pyarrow.compute as pc

    if kind == "categorical":
        return Field(name, kind, size, _codes(values, vocab))
    if kind == "multi":
        length = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False)
        offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(length, dtype=np.int64)]))
        return Field(name, kind, size, _codes(values.flatten(), vocab), offsets)
    if kind == "dense":
        assert vocab is not None
        mean, deviation = vocab.to_pylist()
        standard = (values.to_numpy(zero_copy_only=False).astype(np.float64) - mean) / deviation
        return Field(name, kind, 1, torch.from_numpy(np.nan_to_num(standard).astype(np.float32)[:, None]))
    lengths = pc.list_value_length(values)
    given = pc.fill_null(pc.equal(lengths, size), False).to_numpy(zero_copy_only=False)
    if pc.any(pc.not_equal(lengths, size)).as_py():
        raise SchemaError(name, f"vectors of length {size}", "another length", "encode them with the graph's model")
    matrix = np.zeros((len(values), size), dtype=np.float32)
    vectors = values.flatten().to_numpy(zero_copy_only=False).reshape(-1, size)
    matrix[given] = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0)  # with a gap it is none
    return Field(name, kind, size, torch.from_numpy(matrix))


def _codes(values: pa.Array, vocab: pa.Array | None) -> Tensor:
    """int32 [len(values)], 0 for a null or a value that the vocabulary lacks."""
    import pyarrow.compute as pc

    place = pc.index_in(values, value_set=vocab)
    return torch.from_numpy(pc.fill_null(place, -1).to_numpy(zero_copy_only=False).astype(np.int32) + 1)
