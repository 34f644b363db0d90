"""Tables of pandas and polars as Arrow tables."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from micgraph.schema import InputError


def from_pandas(argument: str, source: Any) -> pa.Table:
    """The columns of a pandas frame, without its index.

    Args:
        argument: how errors name the frame.

    Raises:
        InputError: a column that has no one type, such as texts among numbers, or two columns of one name.
    """
    try:
        return pa.Table.from_pandas(source, preserve_index=False)
    except (TypeError, ValueError, OverflowError) as error:
        got = "; ".join(map(str, error.args))
        raise InputError(argument, "a readable table, columns of one type each", got, "convert the column") from error


def from_polars(argument: str, source: Any) -> pa.Table:
    """A polars frame.

    Args:
        argument: how errors name the frame.

    Raises:
        InputError: something that Arrow cannot hold, such as a NUL in the name of a column.
    """
    from polars.exceptions import PanicException, PolarsError

    try:
        return source.to_arrow()
    except (PolarsError, PanicException) as error:
        got = str(error).split("\n")[0]
        raise InputError(argument, "a table that Arrow can hold", got, "rename or convert its columns") from error
