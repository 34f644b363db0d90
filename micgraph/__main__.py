"""``python -m micgraph`` is the command ``micgraph``."""

from __future__ import annotations

from micgraph.cli import app

if __name__ == "__main__":
    app(prog_name="micgraph")
