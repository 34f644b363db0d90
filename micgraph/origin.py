"""Where a warm-started run's first weights came from, as it is kept with the run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """What a run began from; prints as one line.

    Attributes:
        name: encoder and tasks of the earlier run.
        graph: fingerprint of the graph that it was trained on.
        weights: checksum of its best checkpoint.
        rows: ``item.category`` or the like -> how many values ``kept`` their row, are ``new``, or are ``gone``: the
            earlier graph had them, this one has not. Of every field with a table that the model reads.
    """

    name: str
    graph: str
    weights: str
    rows: dict[str, dict[str, int]]

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {n['kept']:,}/{n['new']:,}/{n['gone']:,}" for name, n in self.rows.items())
        return f"warm start from {self.name} on graph {self.graph[:8]}; rows kept/new/gone: {counts or 'no tables'}"
