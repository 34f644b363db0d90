"""NaN in numbers of a source: no number, hence null, which DuckDB has to be told."""

from __future__ import annotations

FLOATS = {"FLOAT", "DOUBLE"}
"""DuckDB's types of numbers that may be NaN."""

SEE_NAN = "SET disabled_optimizers = 'statistics_propagation'"
"""Before a source with such a column is read. A Parquet file tells the least and the largest value of all but NaN, and
from these DuckDB concludes that a condition holds for every row, even ``NOT isnan(x)``."""

SEE_NAN_NO_MORE = "RESET disabled_optimizers"
"""After it."""


def without_nan(name: str, kind: str) -> str:
    """SQL for a numeric column with null in the place of NaN, which DuckDB takes for greater than any number.

    Args:
        kind: the column's type.
    """
    return f"CASE WHEN NOT isnan({name}) THEN {name} END" if kind in FLOATS else name
