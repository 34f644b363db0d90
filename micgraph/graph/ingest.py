"""From what a caller hands in (paths or tables) to a DuckDB relation with our column names."""

from __future__ import annotations

from typing import Any, Literal

import duckdb

SourceKind = Literal["pandas", "polars", "arrow", "path"]
Source = Any


def present(con: duckdb.DuckDBPyConnection, relation: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Which of ``names`` are columns of the relation."""
    found = {row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
    return tuple(name for name in names if name in found)
