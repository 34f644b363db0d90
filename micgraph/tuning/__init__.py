"""Search for settings on validation data, with a budget in trials (:func:`tune`)."""

from micgraph.tuning.space import Choice, Space, Span, read_space
from micgraph.tuning.study import BEST, Trial, Tuned, tune, write_json

__all__ = ["BEST", "Choice", "Space", "Span", "Trial", "Tuned", "read_space", "tune", "write_json"]
