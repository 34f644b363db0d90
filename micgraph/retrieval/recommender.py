"""Recommender: external ids in, a frame of recommendations with their reasons out; saved for serving."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from micgraph import artifact
from micgraph.config import parse
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.relation import Relation, spans
from micgraph.ids import IdMap
from micgraph.knn import Ragged, topk
from micgraph.retrieval import frames
from micgraph.retrieval.channels import CHANNELS, Allowed, ChannelName, Queries, RetrievalModel
from micgraph.retrieval.contracts import HeldOut, TrainedRun
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.learned import LearnedFusion
from micgraph.retrieval.limits import joined, limits
from micgraph.retrieval.retriever import Retriever
from micgraph.schema import ITEM_ID, USER_ID, InputError

KIND, FORMAT, INDEXES = "recommender", 1, "indexes"
ModelLoader = Callable[[Path, RecGraph], RetrievalModel]
TRAIN_FIRST = "pass the run that micgraph.train or micgraph.load_run returns"
_LOG = logging.getLogger(__name__)


class Recommender:
    """Recommends items to users of the graph, and to anybody who brings a history.

    The rows of :meth:`recommend` have these columns:

    - ``user_id`` (with ``histories``: the number of the list), ``item_id``, ``rank`` from 1;
    - ``score``: Eq. 5, or the learned log-odds in place of its first two terms; null for popular items;
    - ``channels`` that found the item ("u2i,i2i"), or "popular": the channels did not suffice, and the most clicked
      items fill up;
    - ``u2i_score``: the score that U2I ranks by, whichever channel found the item; null for popular items;
    - ``u2u_score``, ``u2u_count``: the sum of the similarities of the users that brought the item, and how often they
      did (a user who clicked it twice counts twice); 0 where none did;
    - ``i2i_score``, ``i2i_count``: the same of the clicks whose neighbour the item is;
    - ``trigger``: of these users and clicks the most similar one, as text: "item:" or "user:", then its id (so
      ``trigger.split(":", 1)`` gives both); null where nothing but U2I found the item;
    - ``degraded``: this user's list is less than was asked for: a channel had nothing, or popular items fill up.

    Args:
        run: a trained run.
        fusion: sizes and weights instead of the run's, or a mapping of those settings that differ from the run's.

    Attributes:
        retriever: the stores and channels, by internal index; rankers for evaluation are made of it.

    Raises:
        ConfigError: an unknown setting or a value out of range.
        InputError: no run, or its graph was loaded without its external ids.
        MissingExtraError: the index is FAISS's and faiss is not installed.
    """

    def __init__(self, run: TrainedRun, fusion: FusionConfig | Mapping[str, Any] | None = None) -> None:
        if not hasattr(run, "model"):
            raise InputError("run", "a trained run", f"a {type(run).__name__}", TRAIN_FIRST)
        config = run.fusion if fusion is None else fusion
        if isinstance(config, Mapping):
            config = parse(FusionConfig, {**asdict(run.fusion), **config}, "fusion")
        self._open(run.graph, Retriever(run.model, run.graph, config, run.learned))

    def _open(self, graph: RecGraph, retriever: Retriever) -> None:
        if graph.users is None or graph.items is None:
            remedy = "load it where pyarrow is installed"
            raise InputError("run", "a graph with external ids", "a graph without them", remedy)
        self.graph, self.retriever = graph, retriever
        self.users: IdMap = graph.users
        self.items: IdMap = graph.items

    def __repr__(self) -> str:
        config = self.retriever.config
        return f"Recommender({len(self.users):,} users, {len(self.items):,} items, fusion={config.fusion!r})"

    def recommend(
        self,
        users: Any = None,
        k: int = 20,
        histories: Any = None,
        fields: Any = None,
        channels: str | Iterable[str] = "all",
        filter_seen: bool = True,
        candidates: Any = None,
        exclude: Any = None,
    ) -> Any:
        """The ``k`` best items of each user, with the reason for each.

        Args:
            users: ids of users of the graph: one, or a list, array or series.
            k: items a user.
            histories: instead of ``users``, one list of item ids (oldest first) a person; a warning counts unknown ids.
                Without any known one, nor ``fields``, U2U and I2I give nothing.
            fields: features of these people, one row each (a table, or encoded fields), instead of the graph's.
            channels: ``"all"`` that the fusion's config names, or one or some of "u2i", "u2u", "i2i".
            filter_seen: leave out every item of the whole history.
            candidates: the only items that may be recommended: ids for everybody, or one list of ids a user.
            exclude: items that must not be recommended, in either form.

        Returns:
            A frame of the kind of ``users`` or ``histories`` (for lists: pandas where installed, else Arrow), ``k``
            rows a user in order of rank; the class tells its columns. A user who has seen so much that fewer than
            ``k`` items are left gets those, and a warning tells.

        Raises:
            UnknownIdError: a user that the graph does not know.
            InputError: both or neither of users and histories, a k that cannot be had, no candidates, an unknown
                channel, features or lists of another number of people.
        """
        names = _channels(channels, self.retriever.config.channels)
        ids, number, seen = self._people(users, histories)
        may = limits(self.retriever, self.items, candidates, exclude, len(number))
        self._check_k(k, may.available)
        encoded = frames.fields_of(fields, self.graph, self.users, len(number))
        left_out = joined(seen if filter_seen else None, may.exclude)
        batches = self.retriever.encode(seen, number, encoded, left_out, may.only)
        columns = self._answer(batches, ids, k, names, may.allowed)
        return frames.frame(columns, frames.frame_kind(users if users is not None else histories))

    def similar_items(self, items: Any, k: int = 10) -> Any:
        """The ``k`` nearest items of each item, by the cosine of their own vectors.

        Args:
            items: one id, or a list, array or series.

        Returns:
            A frame ``item_id, similar_id, rank, score`` of the caller's kind.

        Raises:
            UnknownIdError: an item that the graph does not know.
            InputError: k < 1, or as many as there are items.
        """
        remedy = "ask for items that were clicked in the log the graph was built from"
        index = frames.known(self.items, items, "items", remedy)
        return self._similar(index, self.retriever.items, self.items, ITEM_ID, k, frames.frame_kind(items))

    def similar_users(self, users: Any, k: int = 10) -> Any:
        """The ``k`` nearest users of each user, by the cosine of their own vectors.

        Returns:
            A frame ``user_id, similar_id, rank, score``; for the rest see :meth:`similar_items`.
        """
        remedy = "ask for users of the log that the graph was built from"
        index = frames.known(self.users, users, "users", remedy)
        return self._similar(index, self.retriever.users.vectors, self.users, USER_ID, k, frames.frame_kind(users))

    def fit_fusion(self, data: HeldOut, filter_seen: bool = True) -> LearnedFusion:
        """Fit the learned fusion on held-out clicks and use it from now on.

        Args:
            data: validation users in the graph's numbers, as :func:`micgraph.evaluation.prepare` gives them.
            filter_seen: fit it for lists without the items of the history.

        Raises:
            InputError: the channels found none of the clicks, or nothing else.
        """
        return self.retriever.fit(data.histories, data.users, data.clicks, filter_seen)

    def save(self, path: str | Path) -> None:
        """Write everything that recommending needs to the directory ``path``: vectors, tables, graph and model."""

        def write(folder: Path) -> None:
            # clones: a model may search its own space, and safetensors refuses two names for one memory
            stores = self.retriever.tensors()
            tensors = {name: value.detach().cpu().contiguous().clone() for name, value in stores.items()}
            save_file(tensors, folder / "stores.safetensors")
            learned = self.retriever.learned
            settings = {
                "fusion": asdict(self.retriever.config),
                "learned": None if learned is None else asdict(learned),
            }
            (folder / "fusion.json").write_text(json.dumps(settings, indent=1))
            self.graph.save(folder / "graph")
            self.retriever.model.save(folder / "model")
            self.retriever.write_structures(folder / INDEXES)

        artifact.publish(path, KIND, FORMAT, write)

    @classmethod
    def load(cls, path: str | Path, load_model: ModelLoader | None = None) -> Recommender:
        """Read what :meth:`save` wrote; nothing is computed again.

        Args:
            load_model: reads the model's folder; by default that of micgraph's own towers.

        Raises:
            ArtifactError: missing, damaged, of another kind or format version.
        """
        folder = artifact.resolve(path, KIND, FORMAT)
        graph = RecGraph.load(folder / "graph")
        model = (load_model or load_towers)(folder / "model", graph)
        settings = json.loads((folder / "fusion.json").read_text())
        learned = None if settings["learned"] is None else LearnedFusion(**settings["learned"])
        fusion = parse(FusionConfig, settings["fusion"], "fusion")
        stored = load_file(folder / "stores.safetensors")
        rec = cls.__new__(cls)
        rec._open(graph, Retriever(model, graph, fusion, learned, stored, folder / INDEXES))
        return rec

    def _answer(
        self, batches: Iterable[Queries], ids: pa.Array, k: int, names: tuple[ChannelName, ...], allowed: Allowed | None
    ) -> dict[str, pa.Array]:
        """The rows of all batches, whose users are called ``ids``."""
        parts: list[dict[str, pa.Array]] = []
        start = 0
        for queries in batches:
            lists = self.retriever.lists(queries, k, names, allowed)
            parts.append(frames.recommendations(lists, ids[start : start + len(queries)], self.users, self.items))
            start += len(queries)
        if sum(len(part[ITEM_ID]) for part in parts) < k * len(ids):
            _LOG.warning("some users have seen so much that fewer than k=%d items are left for them", k)
        return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}

    def _people(self, users: Any, histories: Any) -> tuple[pa.Array, Tensor, Ragged]:
        """External ids, internal numbers and whole histories of those who are asked for."""
        if (users is None) == (histories is None):
            got = "neither" if users is None else "both"
            remedy = "name users of the graph, or bring histories of anybody"
            raise InputError("users, histories", "one of the two", got, remedy)
        if histories is not None:
            seen, unknown = frames.histories_of(histories, self.items)
            if unknown:
                known = self.items.describe()
                _LOG.warning(
                    "histories: %d of %d items are unknown to the graph, which has %s", unknown, len(seen.items), known
                )
            return pa.array(range(seen.n_rows), pa.int64()), torch.full((seen.n_rows,), -1), seen
        remedy = "pass what the person clicked as histories=[[...]] instead"
        number = torch.from_numpy(frames.known(self.users, users, "users", remedy))
        clicks = self.retriever.clicks
        start, length = clicks.indptr[number.to(clicks.device)], clicks.degree(number.to(clicks.device))
        return self.users.ids(number.numpy()), number, _rows(clicks, start, length)

    @staticmethod
    def _check_k(k: int, available: int) -> None:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k <= available:
            remedy = "ask for fewer items, or allow more"
            raise InputError("k", f"a number from 1 to {available}, which is all that can be found", repr(k), remedy)

    def _similar(
        self, index: np.ndarray[Any, Any], vectors: Tensor, ids: IdMap, name: str, k: int, kind: frames.FrameKind
    ) -> Any:
        self._check_k(k, len(ids) - 1)
        rows = torch.from_numpy(index).to(vectors.device)
        itself = Ragged(torch.arange(len(rows) + 1, device=rows.device), rows)
        score, near = topk(vectors[rows], vectors, k, "cosine", exclude=itself)
        columns = {
            name: ids.ids(np.repeat(index, k)),
            "similar_id": ids.ids(near.cpu().numpy()),
            "rank": pa.array(np.tile(np.arange(1, k + 1), len(index)), pa.int32()),
            "score": pa.array(score.cpu().numpy().reshape(-1)),
        }
        return frames.frame(columns, kind)


def load_towers(folder: Path, graph: RecGraph) -> RetrievalModel:
    """The model that :class:`micgraph.nn.export.BoundModel` saved in ``folder``, on the graph's features."""
    from micgraph.nn.export import BoundModel
    from micgraph.sampling.context import surroundings

    return BoundModel.load(folder, graph.item_fields, graph.user_fields, surroundings(graph))


def _channels(given: str | Iterable[str], every: tuple[ChannelName, ...]) -> tuple[ChannelName, ...]:
    wanted = every if given == "all" else ((given,) if isinstance(given, str) else tuple(given))
    if not wanted or not set(wanted) <= set(CHANNELS):
        raise InputError("channels", "'all' or some of " + ", ".join(CHANNELS), repr(given), "name channels of these")
    return tuple(name for name in CHANNELS if name in wanted)


def _rows(clicks: Relation, start: Tensor, length: Tensor) -> Ragged:
    indptr = torch.zeros(len(length) + 1, dtype=torch.int64, device=length.device)
    torch.cumsum(length, 0, out=indptr[1:])
    edge = spans(start, length)[1]
    return Ragged(indptr, clicks.col[edge].long(), None if clicks.time is None else clicks.time[edge].long())
