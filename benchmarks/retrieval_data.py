"""What benchmarks/retrieval.py serves: a generated graph, a user tower, indexes and neighbours, kept in a folder.

What takes minutes to make (neighbours, vectors of users, two HNSW graphs) is written to the folder piece by piece and
read by the next run; its name says what everything depends on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from micgraph.graph.fields import Field, Fields
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation
from micgraph.ids import IdMap
from micgraph.knn import IndexConfig, IndexKind, Metric, NeighborTable, Ragged, VectorIndex, tune_recall
from micgraph.knn.index_config import EXACT
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.retriever import Retriever

DIM, CLUSTERS, DEVIATION = 64, 2_000, 0.06
"""The deviation is of each coordinate around its cluster's centre, before vectors are brought to length 1."""
CLICKS, FAVOURITES, CATEGORIES = 60, 3, 300
TUNED = 0.96
"""The recall by which ``ef_search`` is chosen on some users, so that others have at least 0.95."""
Tensors = dict[str, Tensor]


class Tower:
    """A user tower over given item vectors: their mean, moved a little by three layers."""

    metric, history, device = "ip", 30, torch.device("cpu")

    def __init__(self, items: Tensor) -> None:
        torch.manual_seed(0)
        sizes = (DIM, 128, 64, DIM)
        layers = [(torch.nn.Linear(a, b), torch.nn.Tanh()) for a, b in zip(sizes, sizes[1:], strict=False)]
        self.layers = torch.nn.Sequential(*(part for pair in layers for part in pair))
        self.items = items
        self.derived: dict[Any, Any] = {}

    def item_vectors(self) -> tuple[Tensor, Tensor]:
        """One space for both."""
        return self.items, self.items

    @torch.inference_mode()
    def encode_queries(
        self, items: Tensor, mask: Tensor, user: Tensor, fields: Fields | None = None, gap: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of histories [B, T]."""
        use = (mask & (items >= 0))[:, :, None]
        mean = (self.items[items.clamp(min=0)] * use).sum(1) / use.sum(1).clamp(min=1)
        search = normalize(mean + 0.05 * self.layers(mean), dim=-1)
        return search, search


def made(n_users: int, n_items: int) -> tuple[RecGraph, Tensor]:
    """Clicks of users in clusters of items, and the items' vectors float32 [N, 64]."""
    g = torch.Generator().manual_seed(0)
    centre = normalize(torch.randn(CLUSTERS, DIM, generator=g), dim=1)
    cluster = torch.arange(n_items) % CLUSTERS
    vectors = normalize(centre[cluster] + DEVIATION * torch.randn(n_items, DIM, generator=g), dim=1)
    liked = torch.randint(CLUSTERS, (n_users, FAVOURITES), generator=g)
    chosen = liked.gather(1, torch.randint(FAVOURITES, (n_users, CLICKS), generator=g))
    rank = torch.randint(max(1, n_items // CLUSTERS), (n_users, CLICKS), generator=g)
    col = (chosen + CLUSTERS * rank).clamp(max=n_items - 1).reshape(-1).to(torch.int32)
    time_of = torch.arange(CLICKS, dtype=torch.int32).repeat(n_users)
    clicks = Relation(torch.arange(n_users + 1) * CLICKS, col, n_items, time_of)
    code = torch.randint(1, CATEGORIES, (n_items,), generator=g).to(torch.int32)
    graph = RecGraph(
        relations={"clicks": clicks},
        item_fields={"item_id": _identity("item_id", n_items), "category": Field("category", "categorical", 300, code)},
        user_fields={"user_id": _identity("user_id", n_users)},
        users=IdMap(pa.array([f"u{i:07}" for i in range(n_users)])),
        items=IdMap(pa.array([f"i{i:07}" for i in range(n_items)])),
    )
    return graph, vectors


def _identity(name: str, n: int) -> Field:
    return Field(name, "categorical", n + 1, torch.arange(1, n + 1, dtype=torch.int32))


def cluster_neighbors(vectors: Tensor, k: int) -> NeighborTable:
    """The ``k`` nearest of the same cluster: with so small a deviation these are nearly all of the nearest."""
    col = torch.full((len(vectors), k), -1, dtype=torch.int32)
    score = torch.zeros(len(vectors), k, dtype=torch.float16)
    for first in range(min(CLUSTERS, len(vectors))):
        mine = torch.arange(first, len(vectors), CLUSTERS)
        found = (vectors[mine] @ vectors[mine].T).fill_diagonal_(-torch.inf).topk(min(k, len(mine) - 1))
        width = found.indices.shape[1]
        col[mine, :width], score[mine, :width] = mine[found.indices].to(torch.int32), found.values.to(torch.float16)
    return NeighborTable(col, score)


def prepare(graph: RecGraph, tower: Tower, config: FusionConfig, cache: Path | None, sample: int) -> FusionConfig:
    """Make indexes and neighbours, or read them from the folder ``cache``, and leave them with the tower.

    Args:
        sample: users by whose searches it is measured how much of the indexes must be read.

    Returns:
        The config with what was chosen.
    """
    folder = None if cache is None else cache / f"{graph.n_users}-{graph.n_items}-{CLUSTERS}-{DEVIATION}"
    neighbors = _kept("neighbours", folder, lambda: vars(cluster_neighbors(tower.items, config.m3)))
    users = _kept("vectors-of-users", folder, lambda: {"users": _vectors(graph, tower)})["users"]
    items = _indexed("items", tower.items, "ip", config.index, config.item_index, folder)
    people = _indexed("users", users, "cosine", config.index, config.user_index, folder)
    asked, itself = users[:sample], Ragged(torch.arange(sample + 1), torch.arange(sample))
    items = _tuned("items", items, asked, config.k1, None)
    people = _tuned("users", people, asked, config.m1, itself)
    config = replace(config, item_index=items.settings, user_index=people.settings)
    tower.derived[("table", config.neighbors, config.m3)] = (graph, NeighborTable(**neighbors))
    tower.derived[("index", config.index, config.item_index)] = (graph, items)
    tower.derived[("users", config.index, config.user_index)] = (graph, people)
    return config


def _vectors(graph: RecGraph, tower: Tower) -> Tensor:
    """The own vectors of all users."""
    clicks = graph.relation("clicks")
    histories = Ragged(clicks.indptr, clicks.col.long(), clicks.time)
    everyone = torch.arange(graph.n_users)
    return torch.cat([part.own for part in Retriever(tower, graph, FusionConfig()).encode(histories, everyone)])


def _tuned(name: str, index: VectorIndex, queries: Tensor, k: int, exclude: Ragged | None) -> VectorIndex:
    """The index, searched with the least work that finds enough of the nearest ``k``."""
    if index.kind in EXACT:
        return index
    tuned = tune_recall(index, queries, k, TUNED, exclude)
    for trial in tuned.trials:
        print(f"  {name}: ef_search {trial.settings.ef_search}, recall@{k} {trial.recall:.4f}", flush=True)
    print(f"index of {name}: {tuned.chosen.settings}", flush=True)
    return tuned.index


def _kept(name: str, folder: Path | None, make: Callable[[], Tensors]) -> Tensors:
    """Tensors of the folder; made, and written there, where they are missing."""
    path = None if folder is None else folder / f"{name}.safetensors"
    begun = time.perf_counter()
    if path is not None and path.exists():
        found = load_file(path)
        print(f"{name} read from the cache", flush=True)
        return found
    found = make()
    print(f"{name} made in {time.perf_counter() - begun:.1f} s", flush=True)
    if path is not None:
        _written(path, lambda part: save_file(found, part))
    return found


def _indexed(
    name: str, vectors: Tensor, metric: Metric, kind: IndexKind, settings: IndexConfig, folder: Path | None
) -> VectorIndex:
    """The index of the folder; made, and written there, where it is missing."""
    path = None
    if folder is not None and kind == "faiss_hnsw":
        path = folder / f"{name}-{settings.hnsw_m}-{settings.ef_construction}.faiss"
    there, begun = path is not None and path.exists(), time.perf_counter()
    index = VectorIndex(vectors, metric, kind, settings, path if there else None)
    how = "read from the cache" if there else f"made in {time.perf_counter() - begun:.1f} s"
    print(f"index of {name} {how}: {index}", flush=True)
    if path is not None and not there:
        _written(path, index.write_structure)
    return index


def _written(path: Path, write: Callable[[Path], Any]) -> None:
    """A file that is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    write(part)
    part.rename(path)
