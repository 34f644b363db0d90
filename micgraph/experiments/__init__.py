"""Tables of models: rows trained over seeds, resumable one by one, with tests against the row that each builds on."""

from micgraph.experiments.alone import channel_views
from micgraph.experiments.bench import Bench, after_a_cut, held_out_users
from micgraph.experiments.deciles import Gain
from micgraph.experiments.record import SEEN_TOO, Record
from micgraph.experiments.report import Report
from micgraph.experiments.row import FUSED, FUSED_AGAINST_BOTH, U2I, Row, View, chosen
from micgraph.experiments.runner import Measure, Plan, fill
from micgraph.experiments.vectors import spaces

__all__ = [
    "FUSED",
    "FUSED_AGAINST_BOTH",
    "SEEN_TOO",
    "U2I",
    "Bench",
    "Gain",
    "Measure",
    "Plan",
    "Record",
    "Report",
    "Row",
    "View",
    "after_a_cut",
    "channel_views",
    "chosen",
    "fill",
    "held_out_users",
    "spaces",
]
