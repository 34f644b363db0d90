"""What a run's directory says from its start (settings, graph, validation), and what of it may differ later."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micgraph import __version__, artifact, versions
from micgraph.retrieval import extra
from micgraph.schema import ArtifactError, ConfigError
from micgraph.training import BEST, LAST

if TYPE_CHECKING:
    from micgraph.run import Run

RUN_FORMAT = 1
SETUP, GRAPH, LEARNED, SETTINGS = "setup", "graph", "fusion", "run.json"
GROWING = ("training.epochs", "training.patience")
"""Settings that may grow after a run has begun: its steps go on as if they had been so from the start. (Where it had
ended by its epochs, the last one has been validated even if ``training.validate_every`` would not have asked for it.)
A learning rate that falls to 0 at the end of the epochs does not let them grow."""


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


def _versions() -> dict[str, str]:
    names = ("torch", "torch-geometric", "numpy", "scipy", "duckdb", "pyarrow")
    found = {"python": platform.python_version(), "micgraph": __version__}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
