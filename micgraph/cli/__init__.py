"""The command ``micgraph``: build, append, inspect, train, tune, evaluate, recommend, similar, index, refresh, ab,
report and doctor.

What takes time to import is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from micgraph.cli.checkup import app

__all__ = ["app"]
