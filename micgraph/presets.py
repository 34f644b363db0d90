"""What a run is made of, and the settings that a name such as ``gru4rec+mic`` stands for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

from micgraph.config import merge, parse, read_yaml
from micgraph.nn.registry import ENCODERS
from micgraph.nn.towers import ModelConfig
from micgraph.retrieval.fusion import FusionConfig
from micgraph.sampling.samples import SamplingConfig, tied_share
from micgraph.schema import CLICKS, ConfigError, did_you_mean
from micgraph.tasks.augment import PerturbConfig
from micgraph.tasks.mining import MiningConfig
from micgraph.tasks.registry import GROUPS, TASKS, contract, expand
from micgraph.training import TrainingConfig

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph

_LOG = logging.getLogger(__name__)

FULL_CATALOGUE = 20_000
"""Up to so many items the presets train a softmax over all of them; above, over drawn negatives."""

MICREC_SAMPLING = {"samples": "clicks", "batch_size": 4096}
"""How MicRec trains every model (5.3)."""

SEQUENCE_SAMPLING = {"samples": "positions", "strict": False, "batch_size": 32, "anchors_per_query": 16}
"""How encoders of sequences are trained: at every click of long pieces."""

ENCODER_PRESETS: dict[str, dict[str, Any]] = {
    "autoint": {"model": {"dim": 64, "history": 20, "item_encoder": "autoint"}, "sampling": MICREC_SAMPLING},
    "comirec_dr": {
        "model": {"dim": 128, "history": 20, "user_fields": []},
        "sampling": {"batch_size": 1024},
        "training": {"lr": 5e-3},
    },
    "comirec_sa": {
        "model": {"dim": 128, "history": 200, "dropout": 0.3, "user_fields": []},
        "sampling": SEQUENCE_SAMPLING,
        "training": {"epochs": 20},
    },
    "deepfm": {"model": {"dim": 64, "history": 20, "item_encoder": "deepfm"}, "sampling": MICREC_SAMPLING},
    "fm": {
        "model": {"dim": 64, "history": 20, "item_encoder": "fm", "item_bias": True},
        "sampling": MICREC_SAMPLING,
    },
    "graphsage": {
        "model": {"dim": 64, "history": 50, "item_graph": "graphsage"},
        "sampling": {"samples": "clicks", "batch_size": 1024},
    },
    "gru4rec": {
        "model": {"dim": 128, "history": 200, "dropout": 0.3, "user_fields": []},
        "sampling": SEQUENCE_SAMPLING,
        "training": {"epochs": 20},
    },
    "ican": {"model": {"dim": 64, "history": 20, "item_encoder": "mlp"}, "sampling": MICREC_SAMPLING},
    "lightgcn": {
        "model": {"dim": 64, "history": 200, "item_graph": "lightgcn", "user_fields": ["user_id"]},
        "sampling": {**SEQUENCE_SAMPLING, "batch_size": 64},
        "training": {"epochs": 20},
    },
    "mic_dnn": {"model": {"dim": 128, "history": 50, "user_fields": []}, "sampling": {"batch_size": 1024}},
    "sasrec": {
        "model": {"dim": 128, "history": 200, "dropout": 0.2, "user_fields": []},
        "sampling": SEQUENCE_SAMPLING,
        "training": {"epochs": 20},
    },
    "youtube_dnn": {"model": {"dim": 64, "history": 20}, "sampling": MICREC_SAMPLING},
}
"""Where an encoder's settings differ from the defaults of the configs. The encoders of sequences read clicks in their
order, also those of the target's second (``strict`` False): right where a second holds clicks one after the other, as
in MovieLens, and wrong where it holds a basket; :func:`tell_ties` says when it matters."""

MANY_TIES = 0.3
"""The share of targets right after a click of their own second from which on :func:`tell_ties` speaks."""

DATA_SECTIONS = ("log", "split", "build", "search")
"""Sections of an experiment's file that reading, splitting, building and tuning take; a run has no use for them."""

DEFAULT_ENCODER = "gru4rec"
"""What is trained where neither a name nor a config says it."""

MIC_LAMBDA = 0.7
"""lambda of MIC Eq. 10: weighs L_basic, and 1 - lambda each channel's contrast."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that a training run and the retrieval from it are set by.

    Attributes:
        model, sampling, perturb, mining, training, fusion: see their classes.
        tasks: settings of each task by name; ``matching`` is always among them.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    model: ModelConfig = field(default_factory=ModelConfig)
    tasks: dict[str, dict[str, Any]] = field(default_factory=lambda: {"matching": {}})
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    perturb: PerturbConfig = field(default_factory=PerturbConfig)
    mining: MiningConfig = field(default_factory=MiningConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    @property
    def name(self) -> str:
        """Encoder and tasks as :func:`resolve` reads them, such as ``gru4rec+mic``."""
        return "+".join([self.model.encoder, *contract(list(self.tasks))])

    def task_config(self, name: str) -> Any:
        """The config object of one task."""
        kind = TASKS[name]
        return parse(kind.config, {**kind.defaults, **self.tasks[name]}, f"tasks.{name}")


def resolve(model: str | None, config: Mapping[str, Any] | str | Path | None, n_items: int) -> RunConfig:
    """The whole configuration of a run: the encoder's preset, then the tasks' defaults, then what ``config`` says.

    Args:
        model: ``encoder`` or ``encoder+task+...``; None takes both from ``config``, and :data:`DEFAULT_ENCODER` where
            that names no encoder.
        config: nested settings, or the path of a YAML file with them; the sections :data:`DATA_SECTIONS` are skipped.
            ``tasks: {sem: False}`` leaves a task out that the name or a group brings.
        n_items: size of the catalogue, which decides between a full and a sampled softmax.

    Raises:
        ConfigError: an unknown encoder, task or setting, a value of the wrong type, or a ``model`` that contradicts
            ``config``: another encoder, or without a task that is set there; nothing (null) for a task of the name,
            or ``matching`` switched off.
    """
    given = read_yaml(config) if isinstance(config, (str, Path)) else dict(config or {})
    given = {name: _section(name, values) for name, values in given.items() if name not in DATA_SECTIONS}
    asked = given.get("tasks", {})
    given["tasks"] = task_settings(asked)
    encoder, tasks = _names(model, given)
    _refuse_nothing(model, asked)
    given["tasks"] = {name: settings for name, settings in given["tasks"].items() if settings is not False}
    full = n_items <= FULL_CATALOGUE
    matching: dict[str, Any] = {"negatives": "full" if full else "popularity"}
    if {"ui", "uu", "ii"} & set(tasks):
        matching["weight"] = MIC_LAMBDA
    base: dict[str, dict[str, Any]] = {
        "model": {"encoder": encoder, "shared_space": "ui" in tasks},
        "tasks": {"matching": matching, **{name: {} for name in tasks}},
    }
    settings = merge(ENCODER_PRESETS.get(encoder, {}), base, given)
    resolved = parse(RunConfig, settings)
    for name in resolved.tasks:
        resolved.task_config(name)
    return resolved


def tell_ties(resolved: RunConfig, config: Mapping[str, Any] | str | Path | None, graph: RecGraph) -> None:
    """Warn, in the log, of a preset that has many clicks read in the very second of their target.

    Args:
        resolved: what a run is trained with.
        config: what the caller has set; nothing is said where ``sampling.strict`` is in it.
        graph: what is trained on.
    """
    given = read_yaml(config) if isinstance(config, (str, Path)) else config or {}
    if resolved.sampling.strict or "strict" in (given.get("sampling") or {}):
        return
    share = tied_share(graph.relation(CLICKS))
    if share > MANY_TIES:
        _LOG.warning(
            "sampling.strict=false, as the preset of %s has it: %.0f%% of the targets are read right after a click of "
            "the same second. Set sampling.strict=true where such clicks are one basket, and false to keep their order "
            "and hear no more of it",
            resolved.model.encoder,
            100 * share,
        )


def _section(name: str, values: Any) -> Mapping[str, Any]:
    if values is None:  # a heading with nothing below it
        return {}
    if not isinstance(values, Mapping):
        sections = get_type_hints(RunConfig).items()
        homes = [f"{section}.{name}" for section, kind in sections if name in getattr(kind, "__annotations__", {})]
        remedy = f"write it as {' or '.join(homes)}" if homes else f"write it as {name}: {{name: value}}"
        raise ConfigError(name, "a section, a mapping of names to settings", repr(values), remedy)
    return values


def _refuse_nothing(model: str | None, given: Mapping[str, Any]) -> None:
    """Refuse ``matching: false``, and null for what trains anyway: it may well be meant to switch it off."""
    if given.get("matching", {}) in (None, False):
        remedy = "remove it, or set its weight"
        raise ConfigError("tasks.matching", "settings: every run trains it", repr(given["matching"]), remedy)
    named = {task for name in (model or "").split("+")[1:] for task in (name, *GROUPS.get(name, ()))}
    for name, settings in given.items():
        if settings is None and named & {name, *GROUPS.get(name, ())}:
            expected = f"settings of a task that {model!r} names"
            raise ConfigError(f"tasks.{name}", expected, "nothing", "write false to leave it out, {} for its defaults")


def task_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by task, False of one that is left out.

    Args:
        given: a section ``tasks``, where a group's name may stand for its tasks and nothing for the defaults. Of two
            names for one task the later one's settings count, but no group brings back a task that is left out by its
            own name.

    Raises:
        ConfigError: no such task.
    """
    expand(list(given))
    spelled: dict[str, Any] = {}
    for name, settings in given.items():
        for task in GROUPS.get(name, (name,)):
            spelled = merge(spelled, {task: {} if settings is None else settings})
    return spelled | {name: False for name, settings in given.items() if settings is False and name not in GROUPS}


def _names(model: str | None, given: Mapping[str, Any]) -> tuple[str, list[str]]:
    encoder = given.get("model", {}).get("encoder")
    tasks = [name for name, settings in given["tasks"].items() if name != "matching" and settings is not False]
    if model is not None:
        named, *more = model.split("+")
        _check_encoder(named)
        _check_agreement(model, (named, expand(more)), (encoder, tasks))
        return named, [name for name in expand(more) if given["tasks"].get(name) is not False]
    encoder = DEFAULT_ENCODER if encoder is None else encoder
    _check_encoder(encoder)
    return encoder, expand(tasks)


def _check_encoder(encoder: Any) -> None:
    if not isinstance(encoder, str) or encoder not in ENCODERS:
        expected = f"one of {sorted(ENCODERS)}, or one of them and tasks such as gru4rec+mic"
        raise ConfigError("model", expected, repr(encoder), did_you_mean(str(encoder), ENCODERS, "name an encoder"))


def _check_agreement(model: str, named: tuple[str, list[str]], given: tuple[Any, list[str]]) -> None:
    """Refuse a name that would silently drop what the config asks for."""
    encoder, tasks = given
    lost = [f"the encoder {encoder!r}"] if encoder not in (None, named[0]) else []
    lost += [f"the task {name!r}" for name in tasks if name not in named[1]]
    if lost:
        raise ConfigError(
            "model",
            "a name that agrees with the config",
            f"{model!r}, without {', '.join(lost)} of the config",
            "leave model out to train what the config names, or remove these from the config",
        )
