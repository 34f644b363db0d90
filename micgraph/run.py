"""A training run on disk: its settings, its weights, its metrics, and the graph that it was trained on."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from micgraph import artifact
from micgraph.config import parse
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import TwoTower
from micgraph.presets import RunConfig
from micgraph.schema import ArtifactError
from micgraph.training import BEST, METRICS, load_weights

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.retrieval.fusion import FusionConfig

RUN_FORMAT = 1
SETUP, GRAPH, SETTINGS = "setup", "graph", "run.json"


@dataclass
class Run:
    """A trained model with the graph that it was trained on.

    Attributes:
        directory: holds ``setup`` (settings and versions), ``graph``, ``metrics.jsonl`` and the checkpoints
            ``best`` and ``last``.
        config: all settings.
        graph: what it was trained on.
        towers: the model with its best weights.
    """

    directory: Path
    config: RunConfig
    graph: RecGraph
    towers: TwoTower

    def __post_init__(self) -> None:
        self.model = BoundModel(self.towers, self.graph.item_fields, self.graph.user_fields)

    @property
    def name(self) -> str:
        """Encoder and tasks."""
        return self.config.name

    @property
    def fusion(self) -> FusionConfig:
        """How the channels are fused."""
        return self.config.fusion

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A row an epoch: seconds, every loss part, validation metrics."""
        path = self.directory / METRICS
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def __repr__(self) -> str:
        rows = self.metrics
        size = sum(p.numel() for p in self.towers.parameters())
        lines = [f"Run {self.name}: {size:,} parameters, {len(rows)} epochs, {self.directory}"]
        if rows:
            lines.append("  last epoch: " + ", ".join(f"{k} {v:.4g}" for k, v in rows[-1].items() if k != "epoch"))
        return "\n".join(lines)


def save_setup(directory: Path, config: RunConfig, graph: RecGraph, towers: TwoTower) -> None:
    """Write what :func:`load_run` needs besides the weights: settings, versions, the towers' shape and the graph."""
    import yaml

    setup = {
        "towers": towers.spec(graph.item_fields, graph.user_fields),
        "versions": _versions(),
        "config": asdict(config),
    }

    def write(folder: Path) -> None:
        (folder / SETTINGS).write_text(json.dumps(setup, indent=1))
        (folder / "config.yaml").write_text(yaml.safe_dump(_plain(asdict(config)), sort_keys=False))

    graph.save(directory / GRAPH)
    artifact.publish(directory / SETUP, "run", RUN_FORMAT, write)


def same_graph(a: RecGraph, b: RecGraph) -> bool:
    """Whether two graphs hold the same ids, edges and features."""
    for one, other in ((a.users, b.users), (a.items, b.items)):
        if one is not None and other is not None and not one.values.equals(other.values):
            return False
    x, y = _tensors(a), _tensors(b)
    return x.keys() == y.keys() and all(torch.equal(x[name].cpu(), y[name].cpu()) for name in x)


def _tensors(graph: RecGraph) -> dict[str, Tensor]:
    found = {f"{name}.{part}": x for name, rel in graph.relations.items() for part, x in rel.tensors().items()}
    for side, fields in (("item", graph.item_fields), ("user", graph.user_fields)):
        for name, one in fields.items():
            found[f"{side}.{name}.values"] = one.values
            if one.offsets is not None:
                found[f"{side}.{name}.offsets"] = one.offsets
    return found


def load_settings(directory: Path) -> dict[str, Any]:
    """What :func:`save_setup` wrote.

    Raises:
        ArtifactError: no run there, or a damaged one.
    """
    folder = artifact.resolve(directory / SETUP, "run", RUN_FORMAT)
    return dict(json.loads((folder / SETTINGS).read_text()))


def load_run(path: str | Path) -> Run:
    """A saved run with its best weights.

    Raises:
        ArtifactError: no run there, a damaged one, or one that has no weights yet.
    """
    from micgraph.graph.recgraph import RecGraph

    directory = Path(path)
    setup = load_settings(directory)
    towers = TwoTower.from_spec(setup["towers"])
    load_towers(towers, directory / BEST)
    return Run(directory, parse(RunConfig, setup["config"]), RecGraph.load(directory / GRAPH), towers)


def load_towers(towers: TwoTower, checkpoint: Path) -> None:
    """Fill the towers with the weights of a checkpoint.

    Raises:
        ArtifactError: weights of another model.
    """
    weights = {k.removeprefix("towers."): v for k, v in load_weights(checkpoint).items() if k.startswith("towers.")}
    try:
        towers.load_state_dict(weights)
    except RuntimeError as error:
        got = "weights of another model"
        raise ArtifactError(str(checkpoint), "weights of this model", got, "load the run that made them") from error


def _versions() -> dict[str, str]:
    names = ("micgraph", "torch", "torch-geometric", "numpy", "scipy", "duckdb", "pyarrow")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML writes without a Python tag."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
