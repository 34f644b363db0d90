"""One row a user: what an A/B log holds of him, summed by DuckDB."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from micgraph.graph import ingest
from micgraph.graph.watched import watched
from micgraph.online.reading import ARM, CHANNEL, ROLES, VIDEO_LENGTH, Rows
from micgraph.schema import DURATION, ITEM_ID, USER_ID, InputError

USERS, CHANNEL_TOTAL = "users", "channel "
MOST_CHANNELS = 50

_USABLE = f"is_view AND {DURATION} IS NOT NULL AND isfinite({VIDEO_LENGTH}) AND {VIDEO_LENGTH} > 0"


@dataclass(frozen=True)
class Totals:
    """What n users did.

    Attributes:
        arms: the control first.
        arm: int64 [n], number of the user's arm.
        values: name -> float64 [n]: ``users`` (1), rows of each role (``click``, ...), ``duration``, ``videos``
            (distinct items viewed), ``played`` (the sum of play percentages) over ``plays`` (views that have one), and
            ``"channel u2i"`` (exposures that a channel brought).
        channels: in the order of their names.
        cold: bool [n], or None without a history.
        lacks: name of a total, or "EPV ratio" -> the columns that the log would need for it.
        counts: of rows that a reader of the metrics should know of.
    """

    arms: tuple[str, ...]
    arm: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    channels: tuple[str, ...]
    cold: NDArray[np.bool_] | None
    lacks: dict[str, str]
    counts: dict[str, int]

    def users(self, among: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """Arm -> its number of users, or of those ``among`` them."""
        found = np.bincount(self.arm if among is None else self.arm[among], minlength=len(self.arms))
        return dict(zip(self.arms, found.tolist(), strict=True))


def user_totals(con: duckdb.DuckDBPyConnection, rows: Rows, before: str | None, cold_below: int) -> Totals:
    """Sum the rows of each user; users are in the order of their ids, so that draws with a seed are the same again.

    Args:
        before: a table of ``user_id`` and ``earlier`` clicks.
        cold_below: users with fewer of them are cold.

    Raises:
        InputError: an arm with fewer than 2 users, or so many channels that the column must be another one.
    """
    sums = {role: f"count(*) FILTER (is_{role})" for role in ROLES}
    needs = {
        DURATION: ((DURATION,), {DURATION: f"COALESCE(sum({DURATION}), 0)"}),
        "videos": ((ITEM_ID,), {"videos": f"count(DISTINCT {ITEM_ID}) FILTER (is_view)"}),
        "played": ((DURATION, VIDEO_LENGTH), _plays()),
        "EPV ratio": ((CHANNEL,), {}),
    }
    lacks = {}
    for name, (columns, more) in needs.items():
        if missing := [column for column in columns if column not in rows.columns]:
            lacks[name] = f"no column {' or '.join(missing)}"
        else:
            sums |= more
    labels = _labels(con, rows) if CHANNEL in rows.columns else {}
    sums |= {f"{CHANNEL_TOTAL}{name}": _brought(found) for name, found in labels.items()}
    found = _summed(con, rows, sums, before)
    arm = found[ARM].astype(np.int64)
    values = {name: np.asarray(found[f"total_{place}"], dtype=np.float64) for place, name in enumerate(sums)}
    values[USERS] = np.ones(len(arm))
    cold = None if before is None else np.asarray(found["earlier"]) < cold_below
    totals = Totals(rows.arms, arm, values, tuple(labels), cold, lacks, _counts(con, rows))
    _check_arms(totals.users())
    return totals


def _summed(
    con: duckdb.DuckDBPyConnection, rows: Rows, sums: dict[str, str], before: str | None
) -> dict[str, NDArray[np.float64]]:
    """Columns ``arm`` (numbers), ``total_0`` ... and, with a table of what was before, ``earlier``."""
    arms = ", ".join(map(ingest.literal, rows.arms))
    select = ", ".join(f"{sql} AS total_{place}" for place, sql in enumerate(sums.values()))
    users = f"SELECT {USER_ID}, list_position([{arms}], any_value({ARM})) - 1 AS {ARM}, {select}"
    query = f"{users} FROM {rows.query} GROUP BY {USER_ID}"
    earlier = "" if before is None else ", COALESCE(b.earlier, 0) AS earlier"
    join = "" if before is None else f"LEFT JOIN {before} AS b ON b.{USER_ID} = u.{USER_ID}"
    with watched(con, "adding up users"):
        result = con.execute(
            f"SELECT u.* EXCLUDE ({USER_ID}){earlier} FROM ({query}) AS u {join} ORDER BY u.{USER_ID}"
        ).fetchnumpy()
    return {name: np.asarray(column) for name, column in result.items()}


def _plays() -> dict[str, str]:
    share = f"least({DURATION} / {VIDEO_LENGTH}, 1)"
    return {"played": f"COALESCE(sum({share}) FILTER ({_USABLE}), 0)", "plays": f"count(*) FILTER ({_USABLE})"}


def _labels(con: duckdb.DuckDBPyConnection, rows: Rows) -> dict[str, list[str]]:
    """Channel -> the values of ``channel`` that name it, such as "u2i" and "u2i,i2i" for u2i."""
    query = f"SELECT DISTINCT {CHANNEL} FROM {rows.query} WHERE is_exposure AND {CHANNEL} IS NOT NULL ORDER BY 1"
    found: dict[str, list[str]] = {}
    for (label,) in con.execute(query).fetchall():
        for name in {part.strip() for part in label.split(",")} - {""}:
            found.setdefault(name, []).append(label)
    if len(found) > MOST_CHANNELS:
        got, remedy = f"{len(found):,}, such as {min(found)!r}", "check the column, and columns="
        raise InputError(f"log.{CHANNEL}", f"at most {MOST_CHANNELS} channels", got, remedy)
    return dict(sorted(found.items()))


def _brought(labels: Iterable[str]) -> str:
    return f"count(*) FILTER (is_exposure AND {CHANNEL} IN ({', '.join(map(ingest.literal, labels))}))"


def _counts(con: duckdb.DuckDBPyConnection, rows: Rows) -> dict[str, int]:
    wanted = {}
    if {DURATION, VIDEO_LENGTH} <= rows.columns:
        wanted["views without a duration or a video_length above 0"] = f"is_view AND NOT COALESCE({_USABLE}, false)"
        wanted["views longer than their video, counted as whole"] = f"{_USABLE} AND {DURATION} > {VIDEO_LENGTH}"
    if ITEM_ID in rows.columns:
        wanted["views without an item_id, no video of their user"] = f"is_view AND {ITEM_ID} IS NULL"
    if CHANNEL in rows.columns:
        wanted["exposures without a channel"] = f"is_exposure AND COALESCE({CHANNEL}, '') = ''"
    if not wanted:
        return {}
    select = ", ".join(f"count(*) FILTER ({sql})" for sql in wanted.values())
    found = con.execute(f"SELECT {select} FROM {rows.query}").fetchall()[0]
    return {name: int(count) for name, count in zip(wanted, found, strict=True) if count}


def _check_arms(users: dict[str, int]) -> None:
    if few := [f"{count} in {arm!r}" for arm, count in users.items() if count < 2]:
        remedy = "run the test on more users"
        raise InputError(f"log.{ARM}", "2 or more users in every arm", ", ".join(few), remedy)
