"""What is in a graph, as text, figures and one HTML page (:func:`inspect`)."""

from micgraph.inspection.view import Inspection, inspect

__all__ = ["Inspection", "inspect"]
