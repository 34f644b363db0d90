"""Uniformity and alignment of a run's vectors, as a measure of a table's rows."""

from __future__ import annotations

from micgraph import evaluation
from micgraph.experiments.bench import Bench
from micgraph.run import Run


def spaces(run: Run, bench: Bench) -> dict[str, float]:
    """:func:`micgraph.evaluation.vectors.spaces` on the test users of a table."""
    return evaluation.spaces(run.model, run.graph, bench.test)
