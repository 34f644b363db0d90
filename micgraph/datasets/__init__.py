"""Readers of public data sets in their official formats; they download nothing."""

from micgraph.datasets.groceries import complete_journey
from micgraph.datasets.movielens import movielens_1m
from micgraph.datasets.news import globo, mind_small_titles
from micgraph.datasets.reviews import amazon_book, steam
from micgraph.datasets.shopping import taobao

__all__ = ["amazon_book", "complete_journey", "globo", "mind_small_titles", "movielens_1m", "steam", "taobao"]
