"""What is measured: each metric as a quotient of two sums over users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from micgraph.online.totals import CHANNEL_TOTAL, USERS, Totals
from micgraph.schema import DURATION, InputError

PLAY, VIDEOS, EPV, COLD = "play percentage", "videos per user", "EPV ratio", "-c"

METRICS: dict[str, str] = {
    "ACC": "clicks / users (MicRec Eq. 9)",
    "ADT": "all durations / users (MicRec Eq. 9)",
    "ALR": "likes / users (MicRec Eq. 9)",
    "AFR": "follows / users (MicRec Eq. 9)",
    "ACC-c": "ACC of cold users; ADT-c, ALR-c and AFR-c likewise (MicRec 5.5)",
    VIDEOS: "distinct items that a user viewed, mean over users (MIC 3.5)",
    PLAY: "duration / video_length, at most 1, mean over views (MIC 3.5)",
    EPV: "exposures that a channel brought / exposures, for each channel (MIC 3.5)",
}
"""Name -> meaning of every metric."""


@dataclass(frozen=True)
class Metric:
    """The sum of a total of :class:`Totals` over all users, or ``cold`` ones, divided by that of another."""

    name: str
    numerator: str
    denominator: str = USERS
    cold: bool = False


_PER_CAPITA = (Metric("ACC", "click"), Metric("ADT", DURATION), Metric("ALR", "like"), Metric("AFR", "follow"))
_OF_VIEWS = (Metric(VIDEOS, "videos"), Metric(PLAY, "played", "plays"))
_ROLE = {"click": "click", "like": "like", "follow": "follow", "videos": "view", "played": "view"}


def measurable(totals: Totals, roles: Mapping[str, tuple[Any, ...]]) -> tuple[list[Metric], dict[str, str]]:
    """The metrics that a log allows, and metric -> why not for the others.

    Args:
        roles: role -> values of ``event``, which the reasons name.

    Raises:
        InputError: there is none.
    """
    left_out, found = {}, []
    for metric in (*_PER_CAPITA, *_OF_VIEWS):
        reason = _missing(totals, metric.numerator, roles)
        if reason is None:
            found.append(metric)
        else:
            left_out[metric.name] = reason
    shown = [Metric(f"{EPV} {name}", CHANNEL_TOTAL + name, "exposure") for name in totals.channels]
    if not shown:
        left_out[EPV] = totals.lacks.get(EPV) or _no_event(roles["exposure"], " with a channel")
    cold = [Metric(one.name + COLD, one.numerator, cold=True) for one in found if one in _PER_CAPITA]
    if totals.cold is None:
        left_out |= {one.name: "no history" for one in cold}
        cold = []
    if not found and not shown:
        got = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise InputError("log", "columns and events of at least one metric", got, "check columns= and events=")
    return [*found, *cold, *shown], left_out


def _missing(totals: Totals, total: str, roles: Mapping[str, tuple[Any, ...]]) -> str | None:
    """Why a total is not there, or None."""
    if total in totals.lacks:
        return totals.lacks[total]
    role = _ROLE.get(total)
    if role is not None and not totals.values[role].any():
        return _no_event(roles[role])
    if total == "played" and not totals.values["plays"].any():
        return "no view has a duration and a video_length above 0"
    if total == "videos" and not totals.values[total].any():
        return "no view has an item_id"
    if total == DURATION and not totals.values[total].any():
        return "no row has a duration above 0"
    return None


def _no_event(values: tuple[Any, ...], more: str = "") -> str:
    return f"no event {' or '.join(map(repr, values))}{more}"
