"""A training run on disk: its settings, its weights, its metrics, and the graph that it was trained on."""

from __future__ import annotations

import json
import platform
import shutil
import uuid
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micgraph import __version__, artifact, versions
from micgraph.config import merge, parse
from micgraph.disk import unwritable
from micgraph.epochs import Epochs, best, story
from micgraph.nn.export import BoundModel
from micgraph.nn.towers import TwoTower
from micgraph.origin import Origin
from micgraph.presets import RunConfig
from micgraph.retrieval import extra
from micgraph.retrieval.learned import LearnedFusion
from micgraph.sampling.context import surroundings
from micgraph.schema import ArtifactError, ConfigError
from micgraph.training import BEST, LAST, METRICS, load_weights, read_metrics

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.retrieval.fusion import FusionConfig

RUN_FORMAT = 1
SETUP, GRAPH, LEARNED, SETTINGS = "setup", "graph", "fusion", "run.json"
GROWING = ("training.epochs", "training.patience")
"""Settings that may grow after a run has begun: its steps go on as if they had been so from the start. (Where it had
ended by its epochs, the last one has been validated even if ``training.validate_every`` would not have asked for it.)
A learning rate that falls to 0 at the end of the epochs does not let them grow."""


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


def prepare_directory(run: Run, graph: str, validation: dict[str, Any] | None) -> bool:
    """Write a new run's setup and graph, or check that the run found there is the same training; returns whether that
    one has no checkpoint yet, so that it begins anew.

    The first epoch's end makes a run: until then other settings replace those that are there. Afterwards what does not
    concern training (the section ``fusion``) may change and :data:`GROWING` may grow; the setup follows.

    Args:
        graph: fingerprint of the run's graph.
        validation: the split and part that select the epoch, and whether seen items are filtered then.

    Raises:
        ArtifactError: the directory holds something else, or a refreshed run; it stays as it is.
        ConfigError: a run with other settings, another graph, validation or warm start, or one whose epochs cannot
            grow; it stays as it is.
    """
    directory = run.directory
    versions.refuse_refreshed(directory)
    setup = _setup(run, graph, validation)
    begun = artifact.exists(directory / BEST) or artifact.exists(directory / LAST)
    found = artifact.exists(directory / SETUP)
    if not found:
        refuse_taken(directory)
    elif begun:
        saved = load_settings(directory)
        _refuse_differences(directory, saved, setup)
        if saved["config"] == setup["config"]:
            return False
        shutil.rmtree(directory / LEARNED, ignore_errors=True)  # fitted for other weights or sizes
    _save_setup(directory, setup)
    if not begun:
        run.graph.save(directory / GRAPH)
    return found and not begun


def refuse_taken(path: Path) -> None:
    """Refuse a path at which there is anything but an empty directory.

    Raises:
        ArtifactError: a file, or a directory with something in it.
    """
    found = next((place for place in (path, *path.parents) if place.exists()), path)
    if found.exists() and not found.is_dir():
        got = f"the file {found}"
    elif found == path and path.exists() and any(path.iterdir()):
        got = "a directory that holds something else"
    else:
        return
    raise ArtifactError(str(path), "a new or empty directory", got, "choose another path, or remove what is there")


def _setup(run: Run, graph: str, validation: dict[str, Any] | None) -> dict[str, Any]:
    """What :func:`load_run` and a resume need besides weights and graph, as JSON gives it back."""
    setup = {
        "towers": run.towers.spec(run.graph.item_fields, run.graph.user_fields),
        "versions": _versions(),
        "config": asdict(run.config),
        "channels": extra.modules(run.config.fusion.channels),
        "graph": graph,
        "validation": validation,
        "warm_start": None if run.origin is None else asdict(run.origin),
    }
    return dict(json.loads(json.dumps(setup)))


def _save_setup(directory: Path, setup: dict[str, Any]) -> None:
    import yaml

    def write(folder: Path) -> None:
        (folder / SETTINGS).write_text(json.dumps(setup, indent=1))
        (folder / "config.yaml").write_text(yaml.safe_dump(setup["config"], sort_keys=False))

    artifact.publish(directory / SETUP, "run", RUN_FORMAT, write)


def _refuse_differences(directory: Path, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = [name for name in ("graph", "validation", "warm_start") if saved.get(name) != wanted[name]]
    for section, settings in wanted["config"].items():
        if section == "fusion":
            continue
        before = saved["config"].get(section, {})
        for name in sorted({*settings, *before}):
            place, old, new = f"{section}.{name}", before.get(name), settings.get(name)
            if old != new and not (place in GROWING and old < new):
                differing.append(place)
    if differing:
        raise ConfigError(
            "out",
            "a new directory, or a run with the same settings, graph, validation and warm start to go on from",
            f"{directory}, whose {', '.join(differing)} differ",
            "choose another directory or repeat the settings in its setup folder",
        )
    _refuse_another_curve(saved["config"]["training"], wanted["config"]["training"])


def _refuse_another_curve(before: dict[str, Any], wanted: dict[str, Any]) -> None:
    if wanted["schedule"] != "constant" and wanted["epochs"] != before["epochs"]:
        raise ConfigError(
            "training.epochs",
            f"{before['epochs']}, to which the learning rate of the run found in out falls ({wanted['schedule']})",
            wanted["epochs"],
            "train in a new directory, or take schedule=constant for a run whose epochs shall grow",
        )


def load_settings(directory: Path) -> dict[str, Any]:
    """What :func:`prepare_directory` wrote; an ArtifactError where there is no run, or a damaged one."""
    folder = artifact.resolve(directory / SETUP, "run", RUN_FORMAT)
    return dict(json.loads((folder / SETTINGS).read_text()))


def load_run(path: str | Path) -> Run:
    """A saved run with its best weights; of a refreshed one the live version.

    Raises:
        ArtifactError: no run there, a damaged one, or one that has no weights yet.
        ConfigError: its encoder, or a channel of its fusion, is a user's own and not registered here.
    """
    from micgraph.graph.recgraph import RecGraph

    directory = versions.newest(path)
    setup = load_settings(directory)
    extra.require(setup.get("channels", {}))
    read_metrics(directory)
    towers = TwoTower.from_spec(setup["towers"])
    load_towers(towers, directory / BEST)
    config, graph = parse(RunConfig, setup["config"]), RecGraph.load(directory / GRAPH)
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


def _versions() -> dict[str, str]:
    names = ("torch", "torch-geometric", "numpy", "scipy", "duckdb", "pyarrow")
    found = {"python": platform.python_version(), "micgraph": __version__}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
