"""The command ``micgraph``: build, inspect, train, tune, evaluate, recommend, similar."""

from __future__ import annotations

from micgraph.cli.commands import app

__all__ = ["app"]
