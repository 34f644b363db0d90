"""A retriever on disk: vectors, tables, settings, graph and model, in one folder that is whole or absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file, save_file

from micgraph import artifact, versions
from micgraph.config import parse
from micgraph.graph.recgraph import RecGraph
from micgraph.retrieval import extra
from micgraph.retrieval.contracts import RetrievalModel
from micgraph.retrieval.fusion import FusionConfig
from micgraph.retrieval.learned import LearnedFusion
from micgraph.retrieval.retriever import Retriever
from micgraph.schema import ArtifactError

KIND, FORMAT = "recommender", 1
INDEXES = "indexes"
ModelLoader = Callable[[Path, RecGraph], RetrievalModel]


def save(retriever: Retriever, path: str | Path) -> None:
    """Write everything that a retriever needs to the directory ``path``."""

    def write(folder: Path) -> None:
        # clones: a model may search its own space, and safetensors refuses two names for one memory
        stores = retriever.tensors()
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in stores.items()}
        save_file(tensors, folder / "stores.safetensors")
        learned = retriever.learned
        described = {
            "fusion": asdict(retriever.config),
            "learned": None if learned is None else asdict(learned),
            "added": retriever.added,
            "registered": extra.modules(retriever.config.channels),
        }
        (folder / "fusion.json").write_text(json.dumps(described, indent=1))
        retriever.graph.save(folder / "graph")
        retriever.model.save(folder / "model")
        retriever.write_structures(folder / INDEXES)

    artifact.publish(versions.place(path), KIND, FORMAT, write)


def load(path: str | Path, load_model: ModelLoader | None = None) -> Retriever:
    """Read what :func:`save` wrote; nothing is computed again.

    Raises:
        ArtifactError: missing, damaged, of another kind or format version.
    """
    if artifact.exists(artifact.as_path(path) / "setup"):
        remedy = "open it by Recommender(load_run(...)), or load what micgraph index saved in its folder serving"
        raise ArtifactError(str(path), "a saved recommender", "a run", remedy)
    place = versions.place(path)
    if place.name == versions.SERVING and not artifact.exists(place) and artifact.exists(place.parent / "setup"):
        remedy = "make it by micgraph index RUN or Recommender(run).save(...), or pass the run itself"
        raise ArtifactError(str(path), "what serves the run", "nothing yet", remedy)
    return artifact.opened(place, KIND, FORMAT, lambda folder: _load(folder, load_model))


def _load(folder: Path, load_model: ModelLoader | None) -> Retriever:
    graph = RecGraph.load(folder / "graph")
    model = (load_model or load_towers)(folder / "model", graph)
    how = settings(folder)
    stored = load_file(folder / "stores.safetensors")
    found = Retriever(model, graph, how.fusion, how.learned, stored, folder / INDEXES)
    found.added = how.added
    return found


class Settings(NamedTuple):
    """What a saved recommender is beside its graph, model and vectors; :class:`Retriever` tells the parts."""

    fusion: FusionConfig
    learned: LearnedFusion | None
    added: int


def settings(folder: Path) -> Settings:
    """The settings in the folder of a saved version.

    Raises:
        ConfigError: channels of the user's that are not registered here.
    """
    saved = json.loads((folder / "fusion.json").read_text())
    extra.require(saved.get("registered", {}))
    learned = None if saved["learned"] is None else LearnedFusion(**saved["learned"])
    added = saved.get("added", 0)  # earlier versions of micgraph did not count them
    return Settings(parse(FusionConfig, saved["fusion"], "fusion"), learned, added)


def load_towers(folder: Path, graph: RecGraph) -> RetrievalModel:
    """The model that :class:`micgraph.nn.export.BoundModel` saved in ``folder``, on the graph's features."""
    from micgraph.nn.export import BoundModel
    from micgraph.sampling.context import surroundings

    return BoundModel.load(folder, graph.item_fields, graph.user_fields, surroundings(graph))
