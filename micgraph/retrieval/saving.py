"""A retriever on disk: vectors, tables, settings, graph and model, in one folder that is whole or absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import load_file, save_file

from micgraph import artifact
from micgraph.config import parse
from micgraph.graph.recgraph import RecGraph
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
        settings = {
            "fusion": asdict(retriever.config),
            "learned": None if learned is None else asdict(learned),
        }
        (folder / "fusion.json").write_text(json.dumps(settings, indent=1))
        retriever.graph.save(folder / "graph")
        retriever.model.save(folder / "model")
        retriever.write_structures(folder / INDEXES)

    artifact.publish(path, KIND, FORMAT, write)


def load(path: str | Path, load_model: ModelLoader | None = None) -> Retriever:
    """Read what :func:`save` wrote; nothing is computed again.

    Raises:
        ArtifactError: missing, damaged, of another kind or format version.
    """
    if artifact.exists(Path(path) / "setup"):
        remedy = "open it by Recommender(load_run(...)), or load what micgraph index saved in its folder serving"
        raise ArtifactError(str(path), "a saved recommender", "a run", remedy)
    folder = artifact.resolve(path, KIND, FORMAT)
    graph = RecGraph.load(folder / "graph")
    model = (load_model or load_towers)(folder / "model", graph)
    settings = json.loads((folder / "fusion.json").read_text())
    learned = None if settings["learned"] is None else LearnedFusion(**settings["learned"])
    fusion = parse(FusionConfig, settings["fusion"], "fusion")
    stored = load_file(folder / "stores.safetensors")
    return Retriever(model, graph, fusion, learned, stored, folder / INDEXES)


def load_towers(folder: Path, graph: RecGraph) -> RetrievalModel:
    """The model that :class:`micgraph.nn.export.BoundModel` saved in ``folder``, on the graph's features."""
    from micgraph.nn.export import BoundModel
    from micgraph.sampling.context import surroundings

    return BoundModel.load(folder, graph.item_fields, graph.user_fields, surroundings(graph))
