"""Held-out events as tensors (:func:`prepare`), any ranker judged on them (:func:`evaluate_ranker`), and tables."""

from micgraph.evaluation.channel_table import ChannelReport, channel_report
from micgraph.evaluation.data import EvalData, prepare, prepared
from micgraph.evaluation.ranking import Ranker, evaluate_ranker
from micgraph.evaluation.result import DECILES, METRICS, Result, table
from micgraph.evaluation.vectors import spaces

__all__ = [
    "DECILES",
    "METRICS",
    "ChannelReport",
    "EvalData",
    "Ranker",
    "Result",
    "channel_report",
    "evaluate_ranker",
    "prepare",
    "prepared",
    "spaces",
    "table",
]
