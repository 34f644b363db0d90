"""The k nearest vectors by inner product or cosine, with torch or FAISS; the metric travels with the vectors."""

from micgraph.knn.flat import load_faiss
from micgraph.knn.index import VectorIndex
from micgraph.knn.index_config import EFFORT, IndexConfig, IndexKind
from micgraph.knn.inverted import Near, near
from micgraph.knn.ragged import Ragged
from micgraph.knn.search import Metric, NeighborTable, Subset, check_ids, neighbors, topk
from micgraph.knn.structure import require
from micgraph.knn.tuning import Trial, TunedIndex, tune_recall

__all__ = [
    "EFFORT",
    "IndexConfig",
    "IndexKind",
    "Metric",
    "Near",
    "NeighborTable",
    "Ragged",
    "Subset",
    "Trial",
    "TunedIndex",
    "VectorIndex",
    "check_ids",
    "load_faiss",
    "near",
    "neighbors",
    "require",
    "topk",
    "tune_recall",
]
