"""What an A/B test found, as numbers, a table of one screen, a frame and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from micgraph.graph.ingest import SourceKind
from micgraph.graph.tables import Table
from micgraph.schema import InputError


class Effect(NamedTuple):
    """One metric of one arm against the control.

    Attributes:
        arm, metric: which.
        control, value: the metric in the control arm and in this one.
        difference: ``value - control``.
        low, high: percentile interval of the difference, by a bootstrap over users.
        relative: ``difference / control``, or None where the control's is 0.
        t, df: Welch's, over users.
        p: two-sided.
        p_holm: p after Holm's correction over all effects of the test.
    """

    arm: str
    metric: str
    control: float
    value: float
    difference: float
    low: float
    high: float
    relative: float | None
    t: float
    df: float
    p: float
    p_holm: float


@dataclass(frozen=True, repr=False)
class ABResult:
    """What :func:`micgraph.ab_test` found; ``print`` shows it as a table.

    Attributes:
        control: the arm that the others are compared with.
        users: arm -> its number of users, the control first.
        cold: arm -> its number of cold users, or None without a history.
        effects: arm by arm, in each the metrics.
        refused: reason -> arm -> number of rows that were not used; rows without an arm have the arm "".
        left_out: metric -> why it is not there.
        counts: of rows that were used, but not for everything.
        settings: ``cold_below``, ``level``, ``resamples`` and ``seed``.
        source_kind: of the log, in which :meth:`to_frame` answers.
    """

    control: str
    users: dict[str, int]
    cold: dict[str, int] | None
    effects: tuple[Effect, ...]
    refused: dict[str, dict[str, int]]
    left_out: dict[str, str]
    counts: dict[str, int]
    settings: dict[str, float]
    source_kind: SourceKind

    def effect(self, metric: str, arm: str | None = None) -> Effect:
        """One metric of an arm; the arm may be left out where there are two.

        Raises:
            InputError: there is no such metric or arm, or the arm must be named.
        """
        arms = list(self.users)[1:]
        if arm is None and len(arms) == 1:
            arm = arms[0]
        if arm not in arms:
            raise InputError("arm", f"one of {', '.join(map(repr, arms))}", repr(arm), "name an arm beside the control")
        found = {effect.metric: effect for effect in self.effects if effect.arm == arm}
        if metric not in found:
            remedy = f"it is left out: {self.left_out[metric]}" if metric in self.left_out else "name one of these"
            raise InputError("metric", f"one of {', '.join(found)}", repr(metric), remedy)
        return found[metric]

    def to_frame(self) -> Any:
        """One row an effect, as a frame of the log's kind; of files as pandas where that is installed, else Arrow."""
        columns = zip(*self.effects, strict=True)
        table = pa.table({name: list(column) for name, column in zip(Effect._fields, columns, strict=True)})
        if self.source_kind == "polars":
            import polars

            return polars.from_arrow(table)
        if self.source_kind == "arrow":
            return table
        try:
            return table.to_pandas()
        except ImportError:
            return table

    def json(self) -> str:
        """Everything, as JSON; a number that is not finite is null."""
        names = (field for field in asdict(self) if field not in ("effects", "source_kind"))
        effects = [{name: _finite(value) for name, value in e._asdict().items()} for e in self.effects]
        return json.dumps({name: getattr(self, name) for name in names} | {"effects": effects}, indent=1)

    def __repr__(self) -> str:
        arms = ", ".join(f"{arm} {count:,}" for arm, count in self.users.items())
        lines = [f"A/B test over users: {arms}", *(self._table(arm) for arm in list(self.users)[1:])]
        level = f"{100 * self.settings['level']:g}%"
        lines.append(f"interval: {level} bootstrap over users; p: Welch over users, then Holm over all rows")
        if self.cold is not None:
            cold = ", ".join(f"{arm} {count:,}" for arm, count in self.cold.items())
            lines.append(f"-c: users with fewer than {self.settings['cold_below']:g} clicks before: {cold}")
        for reason, counts in self.refused.items():
            lines.append(f"refused: {reason}: " + ", ".join(f"{arm or 'no arm'} {n:,}" for arm, n in counts.items()))
        lines += [f"{name}: {count:,}" for name, count in self.counts.items()]
        if self.left_out:
            lines.append("left out: " + "; ".join(f"{', '.join(n)} ({why})" for why, n in self._reasons().items()))
        return "\n".join(lines)

    def _table(self, arm: str) -> str:
        heads = (self.control, arm, "difference", "low", "high", "relative", "p", "p (Holm)")
        rows = []
        for e in (e for e in self.effects if e.arm == arm):
            numbers = [f"{x:,.4f}" for x in (e.control, e.value)]
            numbers += [f"{x:+,.4f}" for x in (e.difference, e.low, e.high)]
            relative = "" if e.relative is None else f"{100 * e.relative:+.2f}%"
            rows.append((e.metric, *numbers, relative, f"{e.p:.4f}", f"{e.p_holm:.4f}"))
        return Table(f"{arm} against {self.control}", heads, tuple(rows)).text()

    def _reasons(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, why in self.left_out.items():
            found.setdefault(why, []).append(name)
        return found


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
