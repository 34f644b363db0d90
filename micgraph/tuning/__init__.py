"""Search for settings on validation data, with a budget in trials (:func:`tune`)."""

from micgraph.tuning.space import Choice, Space, Span, read_space
from micgraph.tuning.study import BEST, tune, write_json
from micgraph.tuning.trial import Trial, Tuned

__all__ = ["BEST", "Choice", "Space", "Span", "Trial", "Tuned", "read_space", "tune", "write_json"]
