"""What comes in from callers and goes back to them: containers of ids, and frames of the caller's kind."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from micgraph.graph.catalog import encode_rows, readable
from micgraph.graph.fields import Field, Fields
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.row_check import check_rows, first_refused, shown
from micgraph.ids import IdMap, as_array, kind_of
from micgraph.knn import Ragged
from micgraph.retrieval.channels import CHANNELS
from micgraph.retrieval.fusion import Fused, Lists
from micgraph.schema import ITEM_ID, TITLE, USER_ID, InputError, SchemaError, UnknownIdError

if TYPE_CHECKING:
    from micgraph.retrieval.frame_kernel import Rows

POPULAR = "popular"
_MIXED = (pa.ArrowException, TypeError, ValueError, OverflowError)
FrameKind = Literal["pandas", "polars", "arrow"]


def frame_kind(given: Any) -> FrameKind:
    """The kind of frame that answers ``given``: its own; for plain lists pandas where installed, else Arrow."""
    module = type(given).__module__.split(".")[0]
    if module in ("pandas", "polars"):
        return "pandas" if module == "pandas" else "polars"
    return "arrow" if module == "pyarrow" or find_spec("pandas") is None else "pandas"


def frame(columns: dict[str, Any], kind: FrameKind) -> Any:
    """A frame of these columns (Arrow or NumPy arrays)."""
    table = pa.table(columns)
    if kind == "pandas":
        return table.to_pandas()
    if kind == "polars":
        import polars

        return polars.from_arrow(table)
    return table


def as_list(given: Any) -> Any:
    """A container of ids: a single id becomes a list of one."""
    return [given] if isinstance(given, str | bytes | int | np.integer) or not hasattr(given, "__len__") else given


def known(ids: IdMap, given: Any, argument: str, remedy: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Internal numbers of ids that the graph must know.

    Raises:
        UnknownIdError: one or more of them it does not know.
        InputError: there are none at all.
    """
    given = as_list(given)
    if not len(given):
        raise InputError(argument, "at least one id", "none", "pass the ids to answer for")
    index = ids.index(given)
    if (index < 0).any():
        array = as_array(given)
        unknown = [repr(x) for x, i in zip(array.to_pylist(), index, strict=True) if i < 0]
        got = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else "")
        kind = kind_of(array.type)
        if kind != ids.kind:
            got = f"the {kind if len(unknown) > 1 else kind[:-1]} {got}"
            remedy = f"pass {ids.kind}, or {remedy}"
        raise UnknownIdError(argument, f"{ids.describe()}, among the graph's {len(ids):,}", got, remedy)
    return index


def histories_of(given: Any, items: IdMap, argument: str = "histories") -> tuple[Ragged, int]:
    """Lists of external ids, of histories the oldest first, as internal numbers (-1 unknown), and how many are unknown.

    Raises:
        InputError: not a list of lists, or there are none.
    """
    remedy = f"pass one list of item ids a person, such as {argument}=[['i7', 'i9']]"
    rows = plain(given) if not isinstance(given, str | bytes) else given
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | dict):
        raise InputError(argument, "a list of lists of item ids", type(given).__name__, remedy)
    rows = [row if isinstance(row, str | bytes) or not isinstance(row, Iterable) else list(row) for row in rows]
    wrong = [type(row).__name__ for row in rows if not isinstance(row, list)]
    if wrong or not rows:
        got = f"a list of {wrong[0]}" if wrong else "an empty list"
        raise InputError(argument, "a list of lists of item ids", got, remedy)
    flat = [item for row in rows for item in row]
    index = torch.from_numpy(items.index(flat)) if flat else torch.zeros(0, dtype=torch.int64)
    indptr = torch.tensor([0] + [len(row) for row in rows]).cumsum(0)
    return Ragged(indptr, index), int((index < 0).sum())


def fields_of(given: Any, graph: RecGraph, users: IdMap, n: int) -> Fields | None:
    """User features of ``n`` people: encoded fields as they are, or a table of the columns that the graph was given.

    Raises:
        InputError: another number of rows.
        SchemaError: a column that is no field of the graph's users, or a value that its column cannot have.
    """
    if given is None:
        return None
    if isinstance(given, dict) and given and all(isinstance(value, Field) for value in given.values()):
        fields: Fields = given
    else:
        table = readable(table_of(given, "fields"), USER_ID)
        check_rows("fields", table, graph.user_fields, (*graph.user_fields, TITLE))
        fields = encode_rows(table, graph.user_fields, graph.user_vocab, users, USER_ID)
    rows = {len(one) for one in fields.values()}
    if rows != {n}:
        raise InputError("fields", f"{n} rows", sorted(rows), "pass one row a person, in the same order")
    return fields


def recommendations(lists: Lists, ids: pa.Array, users: IdMap, items: IdMap) -> dict[str, pa.Array]:
    """The rows of B users as Arrow columns; see ``Recommender`` for what they mean.

    Args:
        ids: [B], what the users are called.
    """
    from micgraph.retrieval.frame_kernel import Rows, lay_out, room

    fused, rows = lists.fused, room(lists.items.numel())
    read = (lists.items, fused.items, fused.score, fused.basic, fused.held, fused.weight, fused.count)
    size = lay_out(*(x.cpu().contiguous().numpy() for x in (*read, fused.trigger.channel, fused.trigger.node)), rows)
    rows = Rows._make(values[..., :size] for values in rows)
    own: dict[str, pa.Array] = {}
    label, click = rows.label, rows.click
    if fused.names != CHANNELS:
        label, click, own = _own_channels(fused, rows)
    columns = {
        USER_ID: ids.take(pa.array(rows.owner)),
        ITEM_ID: items.ids(rows.item),
        "rank": pa.array(rows.rank),
        "score": pa.array(rows.score, mask=rows.popular),
        "channels": pa.array(_labels(fused.names)).take(pa.array(label)),
        "u2i_score": pa.array(rows.basic, mask=rows.popular),
    }
    for name, weight, count in zip(CHANNELS[1:], rows.weights, rows.counts, strict=True):
        columns[f"{name}_score"], columns[f"{name}_count"] = pa.array(weight), pa.array(count)
    columns |= own
    columns["trigger"] = pc.coalesce(_text(users, rows.user, "user:"), _text(items, click, "item:"))
    columns["degraded"] = pa.array(lists.degraded.cpu().numpy()[rows.owner])
    return columns


@cache
def _labels(names: tuple[str, ...]) -> list[str]:
    """The text of each set of channels, by the sum of 1 for the first, 2 for the second ...; last of popular items."""
    texts = [",".join(name for bit, name in enumerate(names) if code >> bit & 1) for code in range(1 << len(names))]
    return [*texts, POPULAR]


def _own_channels(fused: Fused, rows: Rows) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], dict[str, pa.Array]]:
    """What the loop does not know: the labels of R rows, the items that brought theirs (-1: none), and the columns of a
    user's own channels."""
    user, place, there = rows.owner, rows.rank - 1, ~rows.popular
    held, weight, count = (x.cpu().numpy()[user, :, place] for x in (fused.held, fused.weight, fused.count))
    source, node = (x.cpu().numpy()[user, place] for x in (fused.trigger.channel, fused.trigger.node))
    label, columns = rows.label.copy(), {}
    for number, name in list(enumerate(fused.names))[len(CHANNELS) :]:
        label += (held[:, number] & there) << number
        columns[f"{name}_score"] = pa.array(np.where(there, weight[:, number], 0).astype(np.float32))
        columns[f"{name}_count"] = pa.array(np.where(there, count[:, number], 0).astype(np.int32))
    label[rows.popular] = 1 << len(fused.names)
    return label, np.where(there & (source >= len(CHANNELS)), node, rows.click), columns


def _text(ids: IdMap, number: np.ndarray[Any, Any], prefix: str) -> pa.Array:
    """External ids as text behind a prefix, one for each internal number; null for -1."""
    named = ids.ids(number)
    if isinstance(named.type, pa.BaseExtensionType):  # UUIDs
        named = pa.array([None if value is None else str(value) for value in named.to_pylist()], pa.string())
    return pc.binary_join_element_wise(prefix, named.cast(pa.string()), "")


def plain(given: Any) -> Any:
    """A series or array as a list."""
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(given, method):
            return getattr(given, method)()
    return given


def table_of(given: Any, argument: str) -> pa.Table:
    """Rows of features in any container, as one table.

    Raises:
        InputError: no table, or one whose columns are not of one length.
        SchemaError: a column with values of several types, names the first that differs and its row.
    """
    try:
        table = _table(given)
    except _MIXED as error:
        _check_types(argument, given)
        got = str(error).split("\n")[0]
        raise InputError(argument, "a table, its columns of one length and type", got, "correct the columns") from error
    if table is None:
        remedy = "pass pandas, polars, Arrow, a dict of columns or a list of rows"
        raise InputError(argument, "a table of features", type(given).__name__, remedy)
    return table


def _check_types(argument: str, given: Any) -> None:
    """Name the value for which a table cannot be made, where there is one."""
    if isinstance(given, list):
        names = dict.fromkeys(name for row in given for name in row)
        given = {name: [row.get(name) for row in given] for name in names}
    for name in given if isinstance(given, dict) else getattr(given, "columns", ()):
        values = plain(given[name])
        try:
            _array(values, len(values))
        except _MIXED as error:
            at = first_refused(len(values), partial(_array, values), _MIXED)
            got = f"{shown(values[at])} in row {at}, counted from 0, after values of another type"
            remedy = "correct the value, or leave it out as None"
            raise SchemaError(f"{argument}.{name}", "values of one type", got, remedy) from error


def _array(values: Any, n: int) -> pa.Array:
    return pa.array(values[:n], from_pandas=True)


def _table(given: Any) -> pa.Table | None:
    if isinstance(given, pa.Table):
        return given
    if hasattr(given, "to_arrow"):
        return given.to_arrow()
    if isinstance(given, dict):
        return pa.table(given)
    if isinstance(given, list):
        return pa.Table.from_pylist(given) if all(isinstance(row, dict) for row in given) else None
    if hasattr(given, "iloc"):
        return pa.Table.from_pandas(given, preserve_index=False)
    return None
