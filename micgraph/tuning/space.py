"""What may be searched: dotted settings with the values that each may take, and optuna's choice among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from micgraph.config import parse, read_yaml
from micgraph.extras import missing
from micgraph.schema import ConfigError

SECTION = "search"
STARTUP = 3
"""Trials drawn at random before the estimator (TPE) has anything to go by."""


@dataclass(frozen=True)
class Choice:
    """One of several values, of any kind that YAML has.

    Attributes:
        values: at least one.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("values", "at least one value", "none", "write them as values: [0.1, 0.3]")

    def number_of(self, value: Any) -> int | None:
        """Where a value stands among them, None where it does not."""
        return next((at for at, known in enumerate(self.values) if plain(known) == plain(value)), None)


@dataclass(frozen=True)
class Span:
    """A number between two others, both included; an integer where both are.

    Attributes:
        low, high: the ends.
        log: whether numbers are drawn by their logarithm.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            expected = "low < high, and low > 0 with log"
            raise ConfigError("low, high", expected, f"{self.low}, {self.high}", "correct the ends")


Space = dict[str, Choice | Span]
"""Dotted setting -> what it may be, by name: the order in which a file has them changes nothing."""


def read_space(given: Mapping[str, Any] | str | Path) -> Space:
    """A search space from plain values.

    Args:
        given: dotted setting -> ``{"values": [...]}`` or ``{"low": 1e-4, "high": 1e-2, "log": True}``, or the path of a
            YAML file with such a section ``search``.

    Raises:
        ConfigError: nothing to search, or an entry that is neither.
    """
    values = read_yaml(given).get(SECTION, {}) if isinstance(given, (str, Path)) else given
    if not isinstance(values, Mapping) or not values:
        remedy = "write it as search: {training.lr: {low: 0.0001, high: 0.01, log: true}}"
        raise ConfigError(SECTION, "a mapping of dotted settings", repr(values), remedy)
    return {name: _entry(name, values[name]) for name in sorted(values)}


def _entry(name: str, entry: Any) -> Choice | Span:
    if isinstance(entry, (Choice, Span)):
        return entry
    if not isinstance(entry, Mapping) or not ("values" in entry or {"low", "high"} <= set(entry)):
        remedy = "write it as {values: [...]} or {low: ..., high: ...}"
        raise ConfigError(f"{SECTION}.{name}", "values, or low and high", repr(entry), remedy)
    kind: type[Choice | Span] = Choice if "values" in entry else Span
    return parse(kind, entry, f"{SECTION}.{name}")


def plain(value: Any) -> Any:
    """A value as JSON gives it back, so that a tuple equals a list."""
    return json.loads(json.dumps(value))


def suggest(space: Space, told: Sequence[tuple[dict[str, Any], float]], seed: int) -> dict[str, Any]:
    """The next settings to try: a function of its arguments alone, so that a search that goes on after an interruption
    tries what it would have tried.

    Args:
        space: what may be searched.
        told: settings that were tried, with their scores; higher is better. Those outside the space are passed over.
        seed: of the draw.

    Raises:
        MissingExtraError: optuna is not installed.
    """
    optuna = _optuna()
    kinds = {name: _distribution(entry) for name, entry in space.items()}
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32, n_startup_trials=STARTUP)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for settings, score in told:
            codes = {name: _code(entry, settings.get(name)) for name, entry in space.items()}
            if None not in codes.values():
                study.add_trial(optuna.trial.create_trial(params=codes, distributions=kinds, value=score))
        drawn = study.ask(kinds).params
    finally:
        optuna.logging.set_verbosity(level)
    return {name: _value(entry, drawn[name]) for name, entry in space.items()}


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise missing("tune", "optuna") from error
    return optuna


def _distribution(entry: Choice | Span) -> Any:
    kinds = _optuna().distributions
    if isinstance(entry, Choice):
        return kinds.CategoricalDistribution(range(len(entry.values)))
    whole = isinstance(entry.low, int) and isinstance(entry.high, int)
    kind = kinds.IntDistribution if whole else kinds.FloatDistribution
    return kind(entry.low, entry.high, log=entry.log)


def _code(entry: Choice | Span, value: Any) -> Any:
    """A value as optuna knows it, None where it is outside the space."""
    if isinstance(entry, Choice):
        return entry.number_of(value)
    inside = isinstance(value, (int, float)) and entry.low <= value <= entry.high
    return value if inside else None


def _value(entry: Choice | Span, code: Any) -> Any:
    return entry.values[code] if isinstance(entry, Choice) else code
