"""Online metrics of two or more arms, and whether they differ: what an A/B test of a recommender is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from micgraph.graph import ingest
from micgraph.graph.events import Log
from micgraph.graph.ingest import Source
from micgraph.online.comparing import Draws, effects_of
from micgraph.online.definitions import METRICS, measurable
from micgraph.online.earlier import clicks_before
from micgraph.online.reading import TEXTS, check_names, read_rows, roles_of
from micgraph.online.result import ABResult, Effect
from micgraph.online.totals import user_totals
from micgraph.schema import check_range, check_whole

__all__ = ["METRICS", "ABResult", "Effect", "ab_test"]


def ab_test(
    log: Source,
    control: Any = "control",
    columns: Mapping[str, str] | None = None,
    events: Mapping[str, Any] | None = None,
    history: Source | Log | None = None,
    cold_below: int = 5,
    level: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> ABResult:
    """Compare every arm of an A/B test with the control arm: MicRec 5.5 (Eq. 9) and MIC 3.5.

    The unit is the user: all rows of a user are summed first, in DuckDB, and tests and intervals are over users. See
    :data:`METRICS` for what is computed; what the log has no columns or events for is named in
    ``ABResult.left_out``. Rows that cannot be used are counted in ``ABResult.refused``: no arm, user or event, a
    duration below 0, one that is NaN or infinite.

    Args:
        log: path, glob or list of paths to Parquet or CSV files, or a pandas, polars or Arrow table, with columns
            ``arm, user_id, event``, and optionally ``duration`` (of the row, >= 0), ``channel`` (of an exposure; of
            several, separated by commas, each counts), ``item_id`` and ``video_length`` (in the unit of
            ``duration``). ``user`` and ``item`` are read too where there is no ``user_id`` or ``item_id``.
        control: the arm that the others are compared with.
        columns: our name -> the name in the table, such as ``{"user_id": "uid"}``; holds for ``history`` too.
        events: role -> the value or values of ``event`` that count: ``click, like, follow, exposure, view`` (of a
            video) and ``other`` (no metric's, but the rows' users and durations count). A role is the event of its
            name where it is not given, a view is a click.
        history: clicks before the test: a source with ``user_id`` (of its ``event``, where it has one, only clicks
            count), or a :class:`micgraph.Log`. Without it there are no metrics of cold users.
        cold_below: users with fewer clicks in ``history`` are cold.
        level: of the intervals.
        resamples: how many times the bootstrap draws the users of an arm with replacement.
        seed: of these draws.

    Returns:
        One :class:`Effect` a metric and arm. p-values are corrected by Holm over all of them.

    Raises:
        ConfigError: ``cold_below``, ``level``, ``resamples`` or ``seed`` out of range.
        InputError: a source cannot be read, a user is in two arms, an event has no role, there is one arm only, an
            arm has fewer than 2 users, no such control, no user of the log is in ``history``, or no metric at all
            can be computed.
        SchemaError: a column is missing or has a type that cannot mean what it should.
    """
    _check_settings(cold_below, level, resamples, seed)
    names, roles, con = dict(columns or {}), roles_of(events), ingest.connect()
    with ingest.opened(con, "log", log, names, TEXTS, strict=True) as source:
        check_names(names, source.found)
        with ingest.readable("log"):
            rows = read_rows(con, source, names, roles, control)
            before = None if history is None else clicks_before(con, history, names, roles["click"], rows)
            totals = user_totals(con, rows, before, cold_below)
    metrics, left_out = measurable(totals, roles)
    effects, uneven = effects_of(totals, metrics, Draws(level, resamples, seed))
    return ABResult(
        control=totals.arms[0],
        users=totals.users(),
        cold=None if totals.cold is None else totals.users(totals.cold),
        effects=effects,
        refused=rows.refused,
        left_out=left_out | uneven,
        counts=totals.counts,
        settings={"cold_below": cold_below, "level": level, "resamples": resamples, "seed": seed},
        source_kind=source.kind,
    )


def _check_settings(cold_below: Any, level: Any, resamples: Any, seed: Any) -> None:
    whole = {"cold_below": cold_below, "resamples": resamples, "seed": seed}
    for name, value in whole.items():
        check_whole(name, value)
    check_range(whole, "cold_below", at_least=1)
    check_range(whole, "resamples", at_least=100, remedy="take a thousand or more")
    check_range(whole, "seed", at_least=0, at_most=float(np.iinfo(np.int64).max))
    check_range({"level": level}, "level", above=0, below=1)
