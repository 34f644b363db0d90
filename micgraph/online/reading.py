"""The rows of an A/B log: which arm, whose, what event; which are refused, and what the whole log is refused for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from micgraph.graph import column_types, ingest, naming
from micgraph.graph.ingest import Opened
from micgraph.schema import DURATION, EVENT, ITEM_ID, USER_ID, InputError, SchemaError, did_you_mean

ARM, CHANNEL, VIDEO_LENGTH = "arm", "channel", "video_length"
REQUIRED = (ARM, USER_ID, EVENT)
COLUMNS = (*REQUIRED, DURATION, CHANNEL, ITEM_ID, VIDEO_LENGTH)
ALSO = {USER_ID: "user", ITEM_ID: "item"}  # other names under which a column is read
TEXTS = (ARM, USER_ID, EVENT, CHANNEL, ITEM_ID, *ALSO.values())
ROLES = ("click", "like", "follow", "exposure", "view")
OTHER = "other"
SHOWN = 5  # users, arms or events that an error names


@dataclass(frozen=True)
class Rows:
    """The usable rows of a log.

    Attributes:
        query: SQL (in parentheses) with ``arm`` (text), ``user_id``, a boolean for each of ``ROLES`` (``is_click``,
            ...), and ``duration``, ``channel``, ``item_id`` and ``video_length`` where the log has them.
        columns: those of :data:`COLUMNS` that the log has.
        arms: the control first, then the others in the order of their names.
        family: of the user ids, see :func:`micgraph.graph.column_types.family`.
        refused: reason -> arm -> number of rows; rows without an arm have the arm "".
    """

    query: str
    columns: frozenset[str]
    arms: tuple[str, ...]
    family: str
    refused: dict[str, dict[str, int]]


def roles_of(events: Mapping[str, Any] | None) -> dict[str, tuple[Any, ...]]:
    """Role -> values of ``event``, with the defaults.

    Raises:
        InputError: no such role.
    """
    given = {}
    for role, values in (events or {}).items():
        if role not in (*ROLES, OTHER):
            remedy = did_you_mean(str(role), (*ROLES, OTHER), "write it as role -> values")
            raise InputError("events", f"roles of {', '.join((*ROLES, OTHER))}", repr(role), remedy)
        listed = [values] if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__") else list(values)
        given[role] = tuple(listed)
    roles = {role: given.get(role, (role,)) for role in ROLES} | {OTHER: given.get(OTHER, ())}
    return roles if "view" in given else roles | {"view": roles["click"]}


def check_names(columns: Mapping[str, str], found: tuple[str, ...]) -> None:
    """Refuse entries of ``columns`` that name no column of ours, or none of the log.

    Raises:
        SchemaError: there is one.
    """
    for ours, theirs in columns.items():
        if ours not in COLUMNS:
            remedy = did_you_mean(str(ours), COLUMNS, "the mapping is our name -> yours")
            raise SchemaError("columns", f"names of {', '.join(COLUMNS)} before theirs", repr(ours), remedy)
        if theirs not in found:
            remedy = did_you_mean(str(theirs), found, "name a column of the log")
            got = f"only the columns {', '.join(found)}"
            raise SchemaError("columns", f"a column {theirs!r} for {ours!r}", got, remedy)


def renamed(con: duckdb.DuckDBPyConnection, view: str) -> str:
    """A view as a relation in which ``user`` and ``item`` stand for missing ids."""
    found = ingest.types(con, view)
    more = [f", {ingest.quoted(also)} AS {name}" for name, also in ALSO.items() if name not in found and also in found]
    return f"(SELECT *{''.join(more)} FROM {view})"


def read_rows(
    con: duckdb.DuckDBPyConnection,
    source: Opened,
    columns: Mapping[str, str],
    roles: Mapping[str, tuple[Any, ...]],
    control: Any,
) -> Rows:
    """Check a log and say which of its rows count.

    Raises:
        InputError: a user in two arms, an event without a role, one arm only, an arm without usable rows, no such
            control.
        SchemaError: a column is missing or has a type that cannot mean what it should.
    """
    view = renamed(con, source.view)
    types = ingest.types(con, view)
    naming.require("log", REQUIRED, types, source.found, columns)
    _check_events(con, view, types[EVENT], roles)
    values = _values(con, view, types)
    flags = {f"is_{role}": among(types[EVENT], roles[role]) for role in ROLES}
    select = ", ".join(f"{sql} AS {name}" for name, sql in (*values.items(), *flags.items()))
    staged = f"(SELECT {select}, {_reason(values)} AS reason FROM {view})"
    _check_users(con, staged)
    counts = f"SELECT reason, COALESCE(arm, ''), count(*) FROM {staged} GROUP BY ALL ORDER BY ALL"
    kept: dict[str, int] = {}
    refused: dict[str, dict[str, int]] = {}
    for reason, arm, count in con.execute(counts).fetchall():
        (kept if reason is None else refused.setdefault(reason, {}))[arm] = count
    arms = _arms(kept, refused, column_types.value_text(control, types[ARM]))
    family = column_types.family(types[USER_ID])
    return Rows(f"(SELECT * FROM {staged} WHERE reason IS NULL)", frozenset(values), arms, family, refused)


def _values(con: duckdb.DuckDBPyConnection, view: str, types: Mapping[str, str]) -> dict[str, str]:
    """Our column -> its SQL, for those that there are; the event is left to the roles."""
    ids = [name for name in (USER_ID, ITEM_ID) if name in types]
    found = {ARM: column_types.value_text_sql(ARM, types[ARM])}
    found |= {name: column_types.id_sql(con, view, "log", name, types[name]) for name in ids}
    for name in (DURATION, VIDEO_LENGTH):
        if name in types:
            found[name] = column_types.number_sql("log", name, types[name], "DOUBLE")
    if CHANNEL in types:
        if types[CHANNEL] not in {"VARCHAR", "ENUM", *column_types.INTEGERS, *column_types.NULLS}:
            raise SchemaError(f"log.{CHANNEL}", "texts or integers", types[CHANNEL], "convert the column")
        found[CHANNEL] = f"CAST({CHANNEL} AS VARCHAR)"
    return found


def _reason(values: Mapping[str, str]) -> str:
    """SQL for why a row is refused, or null."""
    cases = [f"WHEN {name} IS NULL THEN 'null {name}'" for name in REQUIRED]
    if DURATION in values:
        cases.append(f"WHEN NOT isfinite({values[DURATION]}) THEN 'duration that is no finite number'")
        cases.append(f"WHEN {values[DURATION]} < 0 THEN 'duration < 0'")
    return f"CASE {' '.join(cases)} END"


def among(kind: str, wanted: tuple[Any, ...]) -> str:
    """The SQL condition that an event is one of these."""
    texts = ", ".join(ingest.literal(column_types.value_text(value, kind)) for value in wanted)
    return f"COALESCE({column_types.value_text_sql(EVENT, kind)} IN ({texts or 'NULL'}), false)"


def _check_events(con: duckdb.DuckDBPyConnection, view: str, kind: str, roles: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse events without a role: a misspelt one would else be zero clicks."""
    named = tuple(value for values in roles.values() for value in values)
    unknown = f"FROM {view} WHERE {EVENT} IS NOT NULL AND NOT {among(kind, named)} GROUP BY {EVENT}"
    rows = con.execute(f"SELECT {EVENT}, count(*) AS n {unknown} ORDER BY n DESC, 1 LIMIT {SHOWN + 1}").fetchall()
    if rows:
        got = _shortened([f"{event!r} ({count:,} rows)" for event, count in rows])
        expected = f"only events of {', '.join(ROLES)} or {OTHER}"
        remedy = f"say in events= what they are, such as events={{{OTHER!r}: [{rows[0][0]!r}]}}"
        raise InputError(f"log.{EVENT}", expected, got, remedy)


def _check_users(con: duckdb.DuckDBPyConnection, staged: str) -> None:
    """Refuse users in two arms: they were treated by both."""
    given = f"FROM {staged} WHERE arm IS NOT NULL AND {USER_ID} IS NOT NULL GROUP BY {USER_ID}"
    torn = f"SELECT {USER_ID}, min(arm) AS a, max(arm) AS b {given} HAVING min(arm) <> max(arm)"
    rows = con.execute(f"SELECT *, count(*) OVER () FROM ({torn}) ORDER BY 1 LIMIT {SHOWN}").fetchall()
    if rows:
        named = ", ".join(f"{user!r} ({a} and {b})" for user, a, b, _ in rows)
        more = f" and {rows[0][3] - len(rows):,} more" if rows[0][3] > len(rows) else ""
        remedy = "repair the assignment, or leave these users out of the log"
        raise InputError(f"log.{ARM}", "every user in one arm", f"users in two: {named}{more}", remedy)


def _arms(kept: Mapping[str, int], refused: Mapping[str, Mapping[str, int]], control: str) -> tuple[str, ...]:
    given = sorted({*kept, *(arm for counts in refused.values() for arm in counts if arm)})
    reasons = "; ".join(f"{reason}: {sum(counts.values()):,} rows" for reason, counts in refused.items())
    if not kept:
        raise InputError("log", "at least one usable row", reasons or "no rows", "check the file and columns=")
    if len(given) < 2:
        remedy = "pass the rows of both arms in one log"
        raise InputError(f"log.{ARM}", "two or more arms", f"only {given[0]!r}", remedy)
    if empty := [arm for arm in given if arm not in kept]:
        got = f"none of {_shortened(list(map(repr, empty)))} ({reasons})"
        raise InputError(f"log.{ARM}", "usable rows of every arm", got, "repair the log")
    if control not in given:
        expected = f"one of the arms {_shortened(list(map(repr, given)))}"
        raise InputError("control", expected, repr(control), "name the arm that the others are compared with")
    return (control, *(arm for arm in given if arm != control))


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
