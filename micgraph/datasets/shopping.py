"""Shopping: Taobao's user behaviour."""

from __future__ import annotations

from pathlib import Path

import duckdb

from micgraph.datasets.files import file_of, malformed
from micgraph.graph.events import Log, read_log
from micgraph.graph.ingest import file_sql

COLUMNS = {"user_id": "BIGINT", "item_id": "BIGINT", "category": "BIGINT", "event": "VARCHAR", "timestamp": "BIGINT"}


def taobao(path: str | Path) -> Log:
    """Clicks (``pv``) of Taobao's UserBehavior.csv, whose lines are ``user,item,category,behaviour,timestamp``.

    As in ComiRec's preparation, purchases, carts and favourites are no events. ``ordinal`` is the place in the file.
    Items have their ``category``; where the file gives one several, the last counts.

    Args:
        path: the file, or the folder that has it.

    Raises:
        InputError: the file is missing or not in that format.
    """
    file = file_of(path, "UserBehavior.csv")
    con = duckdb.connect()
    rows = f"read_csv({file_sql(file)}, header = false, delim = ',', columns = {COLUMNS})"
    try:
        numbered = f"SELECT *, row_number() OVER () AS ordinal FROM {rows}"
        con.execute(f"CREATE TABLE clicks AS SELECT * EXCLUDE (event) FROM ({numbered}) WHERE event = 'pv'")
    except duckdb.Error as error:
        raise malformed(file, error) from error
    items = con.sql(
        "SELECT item_id, CAST(arg_max(category, ordinal) AS VARCHAR) AS category FROM clicks GROUP BY item_id"
    )
    events = con.sql("SELECT * EXCLUDE (category) FROM clicks")
    return read_log(events.to_arrow_table(), items=items.to_arrow_table(), time_unit="s")
