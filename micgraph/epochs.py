"""The metrics of a run's epochs: rows to compute with, and a table to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from micgraph.training import TrainingConfig

SHOWN = 8
"""Epochs of a table at most, the latest ones."""


class Epochs(list[dict[str, Any]]):
    """A row an epoch, each a dict of ``epoch``, ``seconds``, every loss part and validation metrics.

    A plain list, of which a data frame can be made; its ``repr`` is a table with a line a metric and a column an epoch.
    """

    def __repr__(self) -> str:
        from micgraph.graph.tables import Table

        if not self:
            return "no epoch so far"
        last = self[-SHOWN:]
        names = [name for name in dict.fromkeys(name for row in last for name in row) if name != "epoch"]
        rows = [(name, *(_text(row.get(name)) for row in last)) for name in names]
        note = f"{len(self) - len(last):,} earlier epochs" if len(self) > len(last) else ""
        return Table("epoch", tuple(str(row["epoch"]) for row in last), tuple(rows), note).text()


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def best(rows: list[dict[str, Any]], training: TrainingConfig) -> dict[str, Any]:
    """The row of the epoch whose weights a run has: of the best ``monitor``, without validation the last one."""
    monitor = f"valid/{training.monitor}"
    return max(rows, key=lambda row: row.get(monitor, -1.0)) if any(monitor in row for row in rows) else rows[-1]


def story(rows: list[dict[str, Any]], training: TrainingConfig) -> list[str]:
    """How far a run has come, and at most five metrics of the epoch whose weights it has."""
    monitor, length = f"valid/{training.monitor}", training.monitor.partition("@")[2]
    judged = [row for row in rows if monitor in row]
    chosen = best(rows, training)
    stale = len(judged) - 1 - judged.index(chosen) if judged else 0
    ended = ", stopped early" if len(rows) < training.epochs and stale >= training.patience else ""
    wanted = [monitor, *(f"valid/{name}@{length}" for name in ("recall", "ndcg", "coverage")), "loss"]
    shown = ", ".join(f"{name} {chosen[name]:.4g}" for name in dict.fromkeys(wanted) if name in chosen)
    title = "best" if judged else "last"
    return [f"  epochs: {len(rows)} of {training.epochs}{ended}", f"  {title} epoch {chosen['epoch']}: {shown}"]
