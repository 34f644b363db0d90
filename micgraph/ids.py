"""IdMap: external ids of any type <-> the numbers 0..n-1 that everything inside works with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micgraph.schema import ArtifactError, InputError, SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

    from micgraph.id_table import IdTable

_COLUMN = "id"


@dataclass(frozen=True, eq=False)
class IdMap:
    """External ids in the order of their internal numbers.

    Attributes:
        values: [n], distinct and without nulls: integers, strings or UUIDs; ``values[i]`` is the id of number ``i``.
    """

    values: pa.Array

    def __post_init__(self) -> None:
        nulls, distinct = self.values.null_count, len(_storage(self.values).unique())
        if nulls or distinct != len(self.values):
            got = f"{len(self.values)} ids, {nulls} null and {distinct} distinct"
            raise InputError("values", "distinct ids without nulls", got, "drop nulls and duplicates first")

    @classmethod
    def build(cls, ids: Any) -> IdMap:
        """The map of the distinct ids, numbered in their sorted order, so that the order of rows does not matter.

        Raises:
            SchemaError: the ids are of a type that cannot be an id.
        """
        return cls(_sorted_distinct(as_array(ids)))

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        shown = ", ".join(str(v) for v in self.values[:3].to_pylist())
        return f"IdMap({len(self):,} ids of {self.values.type}: {shown}{', ...' if len(self) > 3 else ''})"

    @cached_property
    def _table(self) -> IdTable:
        """Made when the first ids are looked up, and kept."""
        from micgraph.id_table import IdTable

        return IdTable(_storage(self.values))

    @property
    def kind(self) -> str:
        """``integers``, ``texts`` or ``UUIDs``."""
        return kind_of(self.values.type)

    def describe(self) -> str:
        """What its ids look like, such as ``integers such as 12301``."""
        return self.kind + (f" such as {self.values[0].as_py()!r}" if len(self) else "")

    def index(self, ids: Any) -> np.ndarray:
        """Internal numbers of external ids.

        Args:
            ids: [B] list, NumPy array, pandas or polars series, or Arrow array. Widths of integers and
                of strings need not agree with the map's; an id of another type is an unknown one.

        Returns:
            int64 [B], -1 where the id is unknown or null.

        Raises:
            InputError: the ids are not of one type.
        """
        wanted = _cast(as_array(ids), self.values.type)
        return np.full(len(ids), -1, dtype=np.int64) if wanted is None else self._table.find(_storage(wanted))

    def ids(self, index: Any) -> pa.Array:
        """External ids of internal numbers.

        Args:
            index: int [B]; -1 gives null.

        Returns:
            [B] of the type that the ids were given in.
        """
        import pyarrow as pa

        number = np.asarray(index, dtype=np.int64).reshape(-1)
        return self.values.take(pa.array(number, mask=number < 0))

    def order(self) -> np.ndarray:
        """The numbers in the order of their ids, int64 [n]: 0..n-1 where nothing was added by :meth:`extend`."""
        import pyarrow.compute as pc

        return np.asarray(pc.array_sort_indices(_storage(self.values))).astype(np.int64)

    def extend(self, new_ids: Any) -> IdMap:
        """A map that also knows ``new_ids``: old numbers stay, new ids follow in sorted order.

        Raises:
            SchemaError: the new ids are of another type.
        """
        import pyarrow as pa

        given = as_array(new_ids)
        new = _cast(given, self.values.type)
        if new is None or new.null_count > given.null_count:
            raise SchemaError("new_ids", f"ids of {self.values.type}", str(given.type), "cast them to the map's type")
        new = new.filter(pa.array(self.index(new) < 0))
        return IdMap(pa.concat_arrays([self.values, _sorted_distinct(new)]))

    def save(self, path: str | Path) -> None:
        """Write the ids to a Parquet file of one column."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({_COLUMN: self.values}), path)

    @classmethod
    def load(cls, path: str | Path) -> IdMap:
        """Read what :meth:`save` wrote.

        Raises:
            ArtifactError: the file is missing or is not such a file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return cls(_one_chunk(pq.read_table(path, columns=[_COLUMN])[_COLUMN]))
        except (OSError, pa.ArrowException, KeyError) as error:
            remedy = "restore the file from a copy or make it again"
            raise ArtifactError(str(path), "ids saved by micgraph", str(error).split("\n")[0], remedy) from error


def as_array(ids: Any) -> pa.Array:
    """Ids of any container as one Arrow array; categories are decoded, and float ids that are whole become integers.

    Raises:
        InputError: the ids are not of one type.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if hasattr(ids, "columns") or hasattr(ids, "column_names"):
        raise InputError("ids", "a list, array or series of ids", f"a table ({type(ids).__name__})", "pass its column")
    try:
        ids = ids.to_arrow() if hasattr(ids, "to_arrow") else ids
        array = ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array(ids, from_pandas=True)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        types = list(dict.fromkeys(type(one).__name__ for one in ids)) if isinstance(ids, (list, tuple)) else []
        got = ", ".join(types) if len(types) > 1 else str(error).split("\n")[0]
        raise InputError("ids", "ids of one type", got, "pass integers, or strings, or UUIDs, not a mixture") from error
    array = _one_chunk(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):  # what pandas makes of integers with gaps
        whole = pc.and_(pc.is_finite(array), pc.equal(array, pc.floor(array)))
        if pc.all(whole, min_count=0).as_py() and pc.all(pc.less(pc.abs(array), 2.0**53), min_count=0).as_py():
            array = array.cast(pa.int64())
    return array


def kind_of(kind: pa.DataType) -> str:
    """The plural for ids of an Arrow type: integers, texts, UUIDs, or the name of a type that ids do not have."""
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return "integers"
    if is_text(kind):
        return "texts"
    return "UUIDs" if isinstance(kind, pa.BaseExtensionType) else f"{kind} values"


def _one_chunk(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _storage(array: pa.Array) -> pa.Array:
    """What an extension type (UUID) is kept as: Arrow's functions only know that."""
    return getattr(array, "storage", array)


def _sorted_distinct(array: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    unique = _storage(array).unique().drop_null()
    return _like(unique.take(pc.array_sort_indices(unique)), array.type)


def _like(storage: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    return pa.ExtensionArray.from_storage(kind, storage) if isinstance(kind, pa.BaseExtensionType) else storage


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """The ids in the map's type, null where they do not fit; None where the types have nothing in common."""
    import pyarrow as pa

    types = pa.types
    if array.type == kind:
        return array
    if types.is_null(array.type):
        return pa.nulls(len(array), kind)
    if types.is_integer(array.type) and types.is_integer(kind):
        return _cast_integers(array, kind)
    if is_text(array.type) and is_text(kind):
        return array.cast(kind)
    return None


def _cast_integers(array: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    limits = np.iinfo(kind.to_pandas_dtype())
    number = np.asarray(array.fill_null(0))
    fits = (number >= limits.min) & (number <= limits.max) & ~np.asarray(array.is_null())
    return pa.array(np.where(fits, number, 0).astype(kind.to_pandas_dtype()), kind, mask=~fits)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
