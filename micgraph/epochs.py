"""The metrics of a run's epochs: rows to compute with, and a table to read."""

from __future__ import annotations

from typing import Any

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
