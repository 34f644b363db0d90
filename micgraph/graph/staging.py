"""Which rows of a log are refused, and why: one text of SQL for every engine, and what is said of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from micgraph.graph import column_types, ingest
from micgraph.graph.column_types import Database
from micgraph.schema import EVENT, ITEM_ID, TIMESTAMP, USER_ID, WEIGHT, InputError

DUPLICATE = "duplicate (same user, item and second)"
SHOWN = 8  # values of a column that an error names


def staged_sql(view: str, value: Mapping[str, str], positive: str | None) -> str:
    """A query of all rows of a view in our types, each with the ``reason`` why it is refused, or null.

    Args:
        value: our column -> its SQL.
        positive: the condition that a row's event counts, see :func:`positive_sql`; all count where it is None.
    """
    cases = [f"WHEN {value[name]} IS NULL THEN 'null {name}'" for name in (USER_ID, ITEM_ID)]
    if positive is not None:
        cases.append(f"WHEN NOT {positive} THEN 'not a positive event'")
    cases.append(f"WHEN {TIMESTAMP} IS NULL THEN 'null timestamp'")
    cases.append(f"WHEN {value[TIMESTAMP]} IS NULL THEN 'unparsable timestamp'")
    if WEIGHT in value:
        weight = value[WEIGHT]  # NaN is greater than any number
        cases.append(f"WHEN {weight} IS NULL OR NOT {weight} > 0 OR isnan({weight}) THEN 'weight <= 0'")
    select = ", ".join(f"{sql} AS {name}" for name, sql in value.items())
    return f"SELECT {select}, CASE {' '.join(cases)} END AS reason FROM {view}"


def positive_sql(
    con: Database, view: str, kind: str, positive: Iterable[Any], literal: Callable[[str], str] = ingest.literal
) -> str:
    """The SQL condition that a row's event counts.

    Args:
        kind: DuckDB's type of the column ``event``.
        positive: the values that count.
        literal: how the engine writes a text.

    Raises:
        InputError: ``positive`` is no list of values, or no row has one of them.
    """
    if isinstance(positive, (str, bytes)) or not isinstance(positive, Iterable):
        raise InputError("positive_events", "a list of values", repr(positive), f"write it as [{positive!r}]")
    wanted = list(positive)
    texts = ", ".join(literal(column_types.value_text(value, kind)) for value in wanted)
    found = f"COALESCE({column_types.value_text_sql(EVENT, kind)} IN ({texts or 'NULL'}), false)"
    if con.execute(f"SELECT bool_or({found}) FROM {view}").fetchall()[0][0] is False:
        query = f"SELECT {EVENT} FROM {view} GROUP BY ALL ORDER BY count(*) DESC, {EVENT} LIMIT {SHOWN + 1}"
        values = [repr(row[0]) for row in con.execute(query).fetchall()]
        got = ", ".join(values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
        remedy = "check the file, columns= and positive_events="
        raise InputError(f"log.{EVENT}", f"a row with one of {wanted}", f"only {got}", remedy)
    return found


def count_reasons(con: Database, staged: str) -> dict[str, int]:
    """Reason -> number of refused rows of a table or query (in parentheses)."""
    query = f"SELECT reason, count(*) FROM {staged} AS s WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason"
    return {reason: int(count) for reason, count in con.execute(query).fetchall()}


def settle(refused: dict[str, int], read: int, kept: int) -> None:
    """Add the duplicates to ``refused``: what was read, was not refused and is not kept.

    Raises:
        InputError: nothing is kept.
    """
    if duplicates := read - kept - sum(refused.values()):
        refused[DUPLICATE] = duplicates
    if not kept:
        got = ", ".join(f"{count} rows refused: {reason}" for reason, count in refused.items()) or "no rows"
        raise InputError("log", "at least one usable event", got, "check the file, columns= and positive_events=")
