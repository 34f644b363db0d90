"""The first event of each user, item and second."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from micgraph.graph import ingest
from micgraph.graph.watched import watched
from micgraph.schema import ITEM_ID, USER_ID

SECOND_SQL = "CAST(FLOOR(timestamp / 1000000.0) AS BIGINT)"
"""The whole second of an event: what a graph keeps of its time."""

_KEY = f"{USER_ID}, {ITEM_ID}, {SECOND_SQL}"


def ranked_sql(columns: Sequence[str], rows: str) -> str:
    """A query of rows with their ``place`` among those of the same user, item and second; any engine takes it.

    Args:
        columns: all columns of the log, in their order.
        rows: ``FROM`` and perhaps ``WHERE``.
    """
    ties = ", ".join(f"{name} NULLS LAST" for name in columns if name not in (USER_ID, ITEM_ID))
    return f"SELECT *, row_number() OVER (PARTITION BY {_KEY} ORDER BY {ties}) AS place {rows}"


def first_of_each_second(con: duckdb.DuckDBPyConnection, staged: str) -> str:
    """Make ``staged``, without its rows that have a ``reason``, a table of the first event of each user, item, second.

    The second is what a graph keeps, so a held-out event then is an edge of the graph exactly if its (user, item,
    second) is. Hashes of the three tell which rows may have a double; only those are ordered, so that a log without
    doubles is neither sorted nor copied.

    Returns:
        The table; ``staged`` is gone.
    """
    columns = [name for name in ingest.types(con, staged) if name != "reason"]
    doubles, table = ingest.fresh("doubles"), ingest.fresh("events")
    usable = f"FROM {staged} WHERE reason IS NULL"
    with watched(con, "looking for duplicates"):
        con.execute(f"CREATE TABLE {doubles} AS SELECT hash({_KEY}) AS h {usable} GROUP BY h HAVING count(*) > 1")
    query = f"SELECT (SELECT count(*) FROM {doubles}), count(reason) FROM {staged}"
    if con.execute(query).fetchall()[0] == (0, 0):
        con.execute(f"ALTER TABLE {staged} DROP COLUMN reason; ALTER TABLE {staged} RENAME TO {table}")
    else:
        names = ", ".join(columns)
        ranked = ranked_sql(columns, f"{usable} AND hash({_KEY}) IN (FROM {doubles})")
        with watched(con, "leaving out duplicates"):
            con.execute(
                f"CREATE TABLE {table} AS SELECT {names} {usable} AND hash({_KEY}) NOT IN (FROM {doubles}) "
                f"UNION ALL SELECT {names} FROM ({ranked}) WHERE place = 1"
            )
        con.execute(f"DROP TABLE {staged}")
    con.execute(f"DROP TABLE {doubles}")
    return table
