"""The k nearest vectors by inner product or cosine, with torch or FAISS; the metric travels with the vectors."""

from micgraph.knn.flat import load_faiss
from micgraph.knn.index import IndexKind, VectorIndex
from micgraph.knn.inverted import Near, near
from micgraph.knn.ragged import Ragged
from micgraph.knn.search import Metric, NeighborTable, Subset, check_ids, neighbors, topk

__all__ = [
    "IndexKind",
    "Metric",
    "Near",
    "NeighborTable",
    "Ragged",
    "Subset",
    "VectorIndex",
    "check_ids",
    "load_faiss",
    "near",
    "neighbors",
    "topk",
]
