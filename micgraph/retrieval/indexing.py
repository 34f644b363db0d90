"""Which index a recommender searches: its kind, and how much of it a search reads, by measured recall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from micgraph.config import parse
from micgraph.knn import EFFORT, IndexConfig, IndexKind, Ragged, TunedIndex, VectorIndex, require, tune_recall
from micgraph.retrieval.asking import check_k
from micgraph.retrieval.recommender import Recommender
from micgraph.retrieval.retriever import Retriever
from micgraph.schema import ConfigError, InputError

SAMPLE = 1_000
"""Users whose searches are measured."""
_SEED = 7


@dataclass(frozen=True)
class TunedIndexes:
    """What was measured, and what the recommender searches since.

    Attributes:
        items: the index of items, which U2I searches.
        users: the index of users, which U2U searches.
    """

    items: TunedIndex
    users: TunedIndex

    def table(self) -> pa.Table:
        """A row a trial: ``index``, the settings tried, ``recall``, ``per_second`` (queries), ``bytes`` beside the
        vectors, ``chosen``."""
        rows = [
            {
                "index": name,
                **{setting: getattr(trial.settings, setting) for setting in EFFORT.get(tuned.index.kind, ())},
            }
            | {"recall": trial.recall}
            | {"per_second": round(trial.per_second), "bytes": tuned.index.nbytes, "chosen": trial is tuned.chosen}
            for name, tuned in (("items", self.items), ("users", self.users))
            for trial in tuned.trials
        ]
        return pa.Table.from_pylist(rows)


def tune_index(
    recommender: Recommender,
    kind: IndexKind,
    recall: float = 0.95,
    k: int | None = None,
    settings: IndexConfig | Mapping[str, Any] | None = None,
) -> TunedIndexes:
    """Index a recommender's items and users by another kind, and read as little of the indexes as recall allows.

    Recall is measured on the searches of :data:`SAMPLE` users of the graph: their vectors among the items, and their
    own vectors among those of other users. :meth:`Recommender.save` keeps the indexes with the recommender.

    Args:
        recommender: uses the indexes from now on; where this fails, it is as before.
        kind: of index, see :class:`micgraph.knn.VectorIndex`.
        recall: the share of the true nearest vectors that must be found.
        k: items that a search asks for; by default those that U2I gives. Users are asked for as U2U does.
        settings: how the indexes are built, or a mapping of those settings that differ from the defaults.

    Raises:
        ConfigError: settings out of range, a recall that the kind does not reach, or no GPU for its kind.
        InputError: a k out of range, or a graph without users.
        MissingExtraError: a kind of FAISS's, and it is not installed.
    """
    require(kind, "kind")
    if not hasattr(recommender, "retriever"):
        got = f"a {type(recommender).__name__}"
        raise InputError("recommender", "a recommender", got, "pass micgraph.Recommender(run)")
    built = _settings(settings)
    retriever = recommender.retriever
    if k is not None:
        check_k(k, len(recommender.items))
    search, own, users = _asked(retriever)
    size = min(k or retriever.config.k1, len(retriever.index))
    items = _tuned(retriever.index, kind, built, search, size, recall, None)
    itself = Ragged(torch.arange(len(users) + 1, device=users.device), users)
    alike = min(retriever.config.m1, max(1, len(retriever.users) - 1))
    people = _tuned(retriever.users, kind, built, own, alike, recall, itself)
    retriever.index, retriever.users = items.index, people.index
    chosen = items.index.settings, people.index.settings
    retriever.config = replace(retriever.config, index=kind, item_index=chosen[0], user_index=chosen[1])
    return TunedIndexes(items, people)


def _settings(given: Any) -> IndexConfig:
    if given is not None and not isinstance(given, IndexConfig | Mapping):
        remedy = 'name what differs, such as {"hnsw_m": 16}'
        raise ConfigError("settings", "an IndexConfig or a mapping of settings", repr(given), remedy)
    return given if isinstance(given, IndexConfig) else parse(IndexConfig, given or {}, "settings")


def _asked(retriever: Retriever) -> tuple[Tensor, Tensor, Tensor]:
    """The search vectors, the own vectors and the numbers of some users of the graph, always the same."""
    drawn = np.random.default_rng(_SEED).permutation(retriever.graph.n_users)[:SAMPLE]
    users = torch.from_numpy(np.sort(drawn)).to(retriever.device)
    clicks = retriever.clicks
    histories = Ragged(clicks.indptr, clicks.col, clicks.time).pick(users)
    batches = list(retriever.encode(histories._replace(items=histories.items.long()), users))
    if not batches:
        raise InputError("recommender", "a graph with users", "one without", "build it from a log with clicks")
    return torch.cat([b.search for b in batches]).float(), torch.cat([b.own for b in batches]).float(), users


def _tuned(
    index: VectorIndex,
    kind: IndexKind,
    settings: IndexConfig,
    queries: Tensor,
    k: int,
    recall: float,
    exclude: Ragged | None,
) -> TunedIndex:
    return tune_recall(VectorIndex(index.vectors, index.metric, kind, settings), queries, k, recall, exclude)
