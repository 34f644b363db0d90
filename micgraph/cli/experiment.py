"""One YAML file for a whole experiment: what is read and split, how the graph is built, how a run is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from micgraph.config import dotted, merge, parse, read_yaml
from micgraph.graph.build_config import BuildConfig
from micgraph.graph.events import Log, read_log
from micgraph.graph.split import Split, split
from micgraph.presets import DATA_SECTIONS
from micgraph.schema import ConfigError


@dataclass(frozen=True)
class LogConfig:
    """The section ``log``: arguments of :func:`micgraph.read_log`. Paths are relative to the working directory.

    Attributes:
        source: path, glob or list of paths to Parquet or CSV files.
        items, users: feature tables.
        columns: our name -> the name in the files.
        positive_events: values of ``event`` that count.
        time_unit: of numeric timestamps.
        time_format: of timestamps that are text, such as "%d/%m/%Y %H:%M".
        item_columns, user_columns: columns of the log that describe items or users, in place of ``items``, ``users``.
        encoding: of CSV files that are not UTF-8.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    source: str | list[str] | None = None
    items: str | list[str] | None = None
    users: str | list[str] | None = None
    columns: dict[str, str] = field(default_factory=dict)
    positive_events: list[str | int] | None = None
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    time_format: str | None = None
    item_columns: list[str] | None = None
    user_columns: list[str] | None = None
    encoding: Literal["utf-8", "latin-1", "utf-16"] | None = None


@dataclass(frozen=True)
class Experiment:
    """The sections of a file.

    Attributes:
        log: what is read.
        split: ``kind`` and the parameters of :func:`micgraph.split`; None builds from the whole log.
        build: how the graph is built.
        model, tasks, sampling, perturb, mining, training, fusion: of a run; :func:`micgraph.presets.resolve` checks
            them.
        search: what may be tuned; :func:`micgraph.tuning.read_space` checks it.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    log: LogConfig = field(default_factory=LogConfig)
    split: dict[str, Any] | None = None
    build: BuildConfig = field(default_factory=BuildConfig)
    model: Any = None
    tasks: Any = None
    sampling: Any = None
    perturb: Any = None
    mining: Any = None
    training: Any = None
    fusion: Any = None
    search: Any = None


def settings_of(config: Path | None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of a file with dotted overrides applied.

    Raises:
        ConfigError: no such file, no YAML, an override that is not ``name=value``, or nothing (null) for a whole
            section of a run or a task, which would not switch it off.
    """
    given = dotted(overrides)
    tasks = given["tasks"] if isinstance(given.get("tasks"), dict) else {}
    nothing = [name for name, value in given.items() if value is None and name not in DATA_SECTIONS]
    nothing += [f"tasks.{name}" for name, value in tasks.items() if value is None]
    if nothing:
        remedy = "write tasks.NAME=false to leave a task out, mining.mode=none or perturb.sides=none for these"
        raise ConfigError(f"--set {nothing[0]}", "settings", "nothing", remedy)
    return merge(read_yaml(config) if config is not None else {}, given)


def experiment(settings: dict[str, Any]) -> Experiment:
    """Settings as an :class:`Experiment`; a section without content has its defaults.

    Raises:
        ConfigError: an unknown section or setting, or a value of the wrong type.
    """
    return parse(Experiment, {name: values for name, values in settings.items() if values is not None})


def read(config: LogConfig, build: BuildConfig) -> Log:
    """The log that a section describes, by the engine that builds the graph, with as much memory as that may take.

    Raises:
        ConfigError: it names no source.
    """
    if config.source is None:
        remedy = "name it on the command line, or set log.source in the config"
        raise ConfigError("log.source", "the path of a log", "nothing", remedy)
    how = {name: getattr(build, name) for name in ("memory_limit", "engine", "spark_master")}
    return read_log(**vars(config), **how)


def divide(log: Log, section: dict[str, Any]) -> Split:
    """The split that a section describes.

    Raises:
        ConfigError: no kind, an unknown one, an unknown parameter, or a value of the wrong type.
        InputError: a part would be empty.
    """
    params = {name: value for name, value in section.items() if name != "kind"}
    return split(log, section.get("kind"), **params)  # type: ignore[arg-type]
