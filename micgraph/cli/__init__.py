"""The command ``micgraph``: build, append, inspect, train, tune, evaluate, recommend, similar."""

from __future__ import annotations

from micgraph.cli.append_command import app  # the app of all commands, with this one

__all__ = ["app"]
