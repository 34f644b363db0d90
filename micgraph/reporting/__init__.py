"""One HTML page that compares runs (:func:`report`)."""

from micgraph.reporting.view import report

__all__ = ["report"]
