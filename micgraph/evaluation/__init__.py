"""Held-out events as tensors (:func:`prepare`), any ranker judged on them (:func:`evaluate_ranker`), and tables."""

from micgraph.evaluation.data import EvalData, prepare, prepared
from micgraph.evaluation.ranking import Ranker, evaluate_ranker
from micgraph.evaluation.result import DECILES, METRICS, Result, table

__all__ = ["DECILES", "METRICS", "EvalData", "Ranker", "Result", "evaluate_ranker", "prepare", "prepared", "table"]
