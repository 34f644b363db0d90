"""A training run on disk: its settings, its weights, its metrics, and the graph that it was trained on."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micgraph import artifact, versions
from micgraph.config import merge, parse
from micgraph.disk import unwritable
from micgraph.epochs import Epochs, best, story
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import TwoTower
from micgraph.origin import Origin
from micgraph.presets import RunConfig
from micgraph.retrieval import extra
from micgraph.retrieval.learned import LearnedFusion
from micgraph.run_setup import GRAPH, LEARNED, RUN_FORMAT, SETUP, load_settings, refuse_taken
from micgraph.sampling.context import surroundings
from micgraph.schema import ArtifactError
from micgraph.training import BEST, LAST, METRICS, load_weights, read_metrics

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.retrieval.fusion import FusionConfig


@dataclass
class Run:
    """A trained model with the graph that it was trained on.

    Attributes:
        directory: holds ``setup`` (settings and versions), ``graph``, ``metrics.jsonl``, the checkpoints ``best`` and
            ``last``, and ``fusion`` where one was learned.
        config: all settings.
        graph: what it was trained on.
        towers: the model with its best weights.
        learned: the fitted fusion, where ``config.fusion`` is a learned one and training has ended.
        origin: what it began from, where that was the weights of another run.
    """

    directory: Path
    config: RunConfig
    graph: RecGraph
    towers: TwoTower
    learned: LearnedFusion | None = None
    origin: Origin | None = None

    def __post_init__(self) -> None:
        self.model = BoundModel(self.towers, self.graph.item_fields, self.graph.user_fields, surroundings(self.graph))

    @property
    def name(self) -> str:
        """Encoder and tasks."""
        return self.config.name

    @property
    def fusion(self) -> FusionConfig:
        """How the channels are fused."""
        return self.config.fusion

    @property
    def metrics(self) -> Epochs:
        """A row an epoch: seconds, every loss part, validation metrics; prints as a table.

        Raises:
            ArtifactError: they are not what was written.
        """
        return Epochs(read_metrics(self.directory))

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights the run has: what validation chose, without validation the last; 0 before any."""
        rows = self.metrics
        return int(best(rows, self.config.training)["epoch"]) if rows else 0

    def settings(self, epochs: int | None = None) -> dict[str, Any]:
        """All settings, as ``config`` of another training.

        Args:
            epochs: ``training.epochs`` instead of the run's: ``best_epoch``, where no days are left to choose it on.
        """
        found = json.loads(json.dumps(asdict(self.config)))
        return merge(found, {} if epochs is None else {"training": {"epochs": epochs}})

    def save(self, path: str | Path) -> None:
        """Copy the whole run to the new directory ``path``, which :func:`load_run` reads; training goes on there too.

        Raises:
            ArtifactError: something is at ``path``, it cannot be written, or the run's own directory is gone.
        """
        target = artifact.as_path(path)
        refuse_taken(target)
        load_settings(self.directory)
        staged = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            staged.mkdir(parents=True)
            for part in (SETUP, GRAPH, BEST, LAST, LEARNED):
                if (self.directory / part).exists():
                    shutil.copytree(self.directory / part, staged / part)
            if (self.directory / METRICS).exists():
                shutil.copy(self.directory / METRICS, staged / METRICS)
            if target.exists():  # empty: not every system renames onto a directory
                target.rmdir()
            staged.rename(target)
        except OSError as error:
            raise unwritable(error, target) from error
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def keep_learned(self, learned: LearnedFusion) -> None:
        """Use a fitted fusion from now on, and write it beside the weights."""

        def write(folder: Path) -> None:
            (folder / "learned.json").write_text(json.dumps(asdict(learned), indent=1))

        artifact.publish(self.directory / LEARNED, "fusion", RUN_FORMAT, write)
        self.learned = learned

    def __repr__(self) -> str:
        rows = self.metrics
        size = sum(p.numel() for p in self.towers.parameters())
        lines = [f"Run {self.name}: {size:,} parameters, {self.directory}"]
        lines += [] if self.origin is None else [f"  {self.origin}"]
        return "\n".join(lines + (story(rows, self.config.training) if rows else []))


def load_run(path: str | Path) -> Run:
    """A saved run with its best weights; of a refreshed one the live version.

    Raises:
        ArtifactError: no run there, a damaged one, or one that has no weights yet.
        ConfigError: its encoder, or a channel of its fusion, is a user's own and not registered here.
    """
    return load_on(None, path)


def load_on(graph: RecGraph | None, path: str | Path) -> Run:
    """What :func:`load_run` returns, on a graph that is in memory already and known to be the run's; None reads it."""
    from micgraph.graph.recgraph import RecGraph

    directory = versions.newest(path)
    setup = load_settings(directory)
    extra.require(setup.get("channels", {}))
    read_metrics(directory)
    towers = TwoTower.from_spec(setup["towers"])
    load_towers(towers, directory / BEST)
    config, graph = parse(RunConfig, setup["config"]), graph or RecGraph.load(directory / GRAPH)
    origin = Origin(**setup["warm_start"]) if setup.get("warm_start") else None
    return Run(directory, config, graph, towers, load_learned(directory), origin)


def load_learned(directory: Path) -> LearnedFusion | None:
    """The fusion that :meth:`Run.keep_learned` wrote, None where there is none.

    Raises:
        ArtifactError: it is damaged.
    """
    if not artifact.exists(directory / LEARNED):
        return None
    folder = artifact.resolve(directory / LEARNED, "fusion", RUN_FORMAT)
    return LearnedFusion(**json.loads((folder / "learned.json").read_text()))


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
