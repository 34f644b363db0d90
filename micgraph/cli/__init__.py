"""The command ``micgraph``: build, append, inspect, train, tune, evaluate, recommend, similar.

What takes time to import is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from micgraph.cli import graphs, runs, serving
from micgraph.cli.options import app

__all__ = ["app", "graphs", "runs", "serving"]
