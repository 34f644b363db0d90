"""Search for settings on validation data, with a budget in trials (:func:`tune`); of a run's fusion
alone, without training (:func:`tune_fusion`)."""

from micgraph.tuning.space import Choice, Space, Span, read_space
from micgraph.tuning.study import BEST, tune
from micgraph.tuning.trial import Trial, Tuned
from micgraph.tuning.weights import FusionChoice, tune_fusion

__all__ = [
    "BEST",
    "Choice",
    "FusionChoice",
    "Space",
    "Span",
    "Trial",
    "Tuned",
    "read_space",
    "tune",
    "tune_fusion",
]
