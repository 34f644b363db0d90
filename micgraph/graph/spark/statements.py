"""The statements that only Spark runs: sessions and co-occurrence. The others are texts that DuckDB runs as well."""

from __future__ import annotations

from collections.abc import Mapping

_BEGINS = """
SELECT *, CASE WHEN session_id IS NULL AND NOT COALESCE(micros - lag(micros) OVER (
  PARTITION BY user_index, session_id ORDER BY micros) <= {gap}, false) THEN micros END AS begins
FROM ({numbered}) AS n"""

_STRETCHES = "SELECT *, max(begins) OVER (PARTITION BY user_index, session_id ORDER BY micros) AS stretch FROM begun"

# Greedy, hence a fold: what begins a session depends on where the one before began.
_SPANS = """
SELECT user_index, explode(aggregate(times, array(stretch),
  (found, time) -> if(time - element_at(found, -1) > {span}, array_append(found, time), found))) AS start
FROM (SELECT user_index, stretch, array_sort(collect_set(micros)) AS times FROM stretches
  WHERE stretch IS NOT NULL GROUP BY user_index, stretch HAVING max(micros) - stretch > {span}) AS l"""

_STARTS = """
SELECT s.*, max(COALESCE(c.start, s.begins)) OVER (
  PARTITION BY s.user_index, s.session_id ORDER BY s.micros) AS start
FROM stretches AS s
LEFT JOIN spans AS c ON s.user_index = c.user_index AND s.micros = c.start AND s.session_id IS NULL"""

_SESSIONS = """
WITH begun AS ({begins}), stretches AS ({stretches}), spans AS ({spans}), started AS ({starts})
SELECT user_index, item_index, micros, ordinal,
  dense_rank() OVER (PARTITION BY user_index ORDER BY session_id, start) AS session_id
FROM started ORDER BY user_index, micros, ordinal, item_index"""


def sessions_sql(numbered: str, gap: int, span: int) -> str:
    """Numbered events with a session id for each, by the rule of :func:`micgraph.graph.sessions.assign`.

    Args:
        numbered: a query of ``user_index, item_index, micros, ordinal, session_id``; null ids are cut by time.
        gap, span: microseconds.

    Returns:
        A query of the same columns, ordered by (user, micros, ordinal, item); ids are distinct within a user.
    """
    begins, spans = _BEGINS.format(gap=gap, numbered=numbered), _SPANS.format(span=span)
    return _SESSIONS.format(begins=begins, stretches=_STRETCHES, spans=spans, starts=_STARTS)


SIZES = """
SELECT size, count(*) FROM (SELECT count(DISTINCT item_index) AS size FROM {clicks} GROUP BY user_index, session_id)
GROUP BY size"""
"""How many sessions have how many distinct items."""

_WHOLE = "SELECT DISTINCT user_index, session_id, item_index FROM {clicks}"

_PLACED = """
SELECT b.*, r.reach FROM (
  SELECT user_index, session_id, item_index,
    row_number() OVER (PARTITION BY user_index, session_id ORDER BY first, item_index) AS place,
    count(*) OVER (PARTITION BY user_index, session_id) AS size
  FROM (SELECT user_index, session_id, item_index, min(struct(micros, ordinal)) AS first
    FROM {clicks} GROUP BY user_index, session_id, item_index) AS f) AS b
LEFT JOIN (VALUES {reaches}) AS r(size, reach) ON b.size = r.size"""

_NEAR = " AND (a.reach IS NULL OR abs(a.place - b.place) <= a.reach)"

_PAIRS = """
WITH baskets AS ({baskets}), counted AS (
  SELECT a.item_index AS a, b.item_index AS b, count(*) AS n FROM baskets AS a JOIN baskets AS b
  ON a.user_index = b.user_index AND a.session_id = b.session_id AND a.item_index < b.item_index{near}
  GROUP BY a.item_index, b.item_index)
SELECT inline(array(
  named_struct('s', a, 't', b, 'n', n), named_struct('s', b, 't', a, 'n', n))) AS (source, target, n)
FROM counted"""

_LARGEST = """
SELECT source, target, n FROM (
  SELECT *, row_number() OVER (PARTITION BY source ORDER BY n DESC, target) AS place FROM ({pairs}) AS p) AS r
WHERE place <= {top_k}"""


def pairs_sql(clicks: str, reach: Mapping[int, int], top_k: int | None) -> str:
    """Pairs of items that are together in sessions, with the number of these: a self-join.

    Args:
        clicks: a table as :func:`sessions_sql` makes it.
        reach: number of distinct items of a session -> how far apart two of them may be, where that is cut.
        top_k: keep each item's largest counts only, ties to the smaller item.

    Returns:
        A query of ``source, target, n``, ordered by the first two.
    """
    values = ", ".join(f"({size}, {distance})" for size, distance in reach.items())
    baskets = _PLACED.format(clicks=clicks, reaches=values) if reach else _WHOLE.format(clicks=clicks)
    pairs = _PAIRS.format(baskets=baskets, near=_NEAR if reach else "")
    kept = pairs if top_k is None else _LARGEST.format(pairs=pairs, top_k=top_k)
    return f"SELECT * FROM ({kept}) AS k ORDER BY source, target"
