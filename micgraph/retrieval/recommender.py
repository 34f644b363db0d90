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
from micgraph.ids import IdMap
from micgraph.knn import Ragged, topk
from micgraph.retrieval import frames
from micgraph.retrieval.asking import Asked, asked_of, check_k, fusion_of, graph_ids
from micgraph.retrieval.channels import RetrievalModel
from micgraph.retrieval.contracts import HeldOut, TrainedRun
from micgraph.retrieval.explaining import Row, in_words
from micgraph.retrieval.fitting import fit_on
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.learned import LearnedFusion
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
        self._open(run.graph, Retriever(run.model, run.graph, fusion_of(run.fusion, fusion), run.learned))

    def _open(self, graph: RecGraph, retriever: Retriever) -> None:
        self.graph, self.retriever = graph, retriever
        self.users, self.items = graph_ids(graph)

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
        asked = asked_of(self.retriever, users, k, histories, fields, channels, filter_seen, candidates, exclude)
        return frames.frame(self._answer(asked, k), frames.frame_kind(users if users is not None else histories))

    def explain(self, user: Any, item: Any, k: int = 20, **asked: Any) -> str:
        """Why an item is at its place in a user's list, in words: what each channel says of it, and the sum that its
        score is.

        Args:
            user: the id of a user of the graph; None with ``histories=[[...]]`` of one person.
            item: the id of an item of the list.
            k: the length of the list: a longer one may ask U2I for more.
            asked: what else :meth:`recommend` was called with.

        Raises:
            UnknownIdError: a user or an item that the graph does not know.
            InputError: the item is not in the list; several users; else see :meth:`recommend`.
        """
        number = int(frames.known(self.items, [item], "item", "ask for an item of the list")[0])
        found = asked_of(self.retriever, None if user is None else [user], k, **asked)
        queries = next(found.batches)
        if len(queries) != 1:
            raise InputError("histories", "one person", f"{len(queries)} people", "explain them one by one")
        lists = self.retriever.lists(queries, k, found.channels, found.allowed)
        if number not in lists.items[0].tolist():
            got, remedy = (
                f"{item!r}, which is not among them",
                "ask for an item that recommend gives, or for a larger k",
            )
            raise InputError("item", f"one of the {k} items of the list", got, remedy)
        names = (lambda at: _text(self.users, at), lambda at: _text(self.items, at))
        at = lists.items[0].tolist().index(number)
        return in_words(Row(self.retriever, queries, lists, found.channels, found.allowed, at, names))

    def with_fusion(self, fusion: FusionConfig | Mapping[str, Any]) -> Recommender:
        """A recommender of the same stores with another fusion, given as in the constructor.

        Raises:
            ConfigError: an unknown setting or a value out of range.
        """
        rec = type(self).__new__(type(self))
        rec._open(self.graph, self.retriever.with_config(fusion_of(self.retriever.config, fusion)))
        return rec

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
        return fit_on(self.retriever, data, filter_seen)

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

    def _answer(self, asked: Asked, k: int) -> dict[str, pa.Array]:
        """The rows of all users."""
        parts: list[dict[str, pa.Array]] = []
        start = 0
        for queries in asked.batches:
            lists = self.retriever.lists(queries, k, asked.channels, asked.allowed)
            ids = asked.ids[start : start + len(queries)]
            parts.append(frames.recommendations(lists, ids, self.users, self.items))
            start += len(queries)
        if sum(len(part[ITEM_ID]) for part in parts) < k * len(asked.ids):
            _LOG.warning("some users have seen so much that fewer than k=%d items are left for them", k)
        return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}

    def _similar(
        self, index: np.ndarray[Any, Any], vectors: Tensor, ids: IdMap, name: str, k: int, kind: frames.FrameKind
    ) -> Any:
        check_k(k, len(ids) - 1)
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


def _text(ids: IdMap, number: int) -> str:
    return str(ids.ids(np.array([number]))[0])
