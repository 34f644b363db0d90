"""Configurations: read from YAML, merged, overridden by dotted names, and checked against the dataclass that each
stage keeps beside its code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from micgraph.plain_yaml import values_of
from micgraph.schema import ConfigError, MicgraphError, did_you_mean

T = TypeVar("T")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, no YAML, or no mapping at its top.
    """
    remedy = "give the path of a YAML file such as those under configs/"
    try:
        values = values_of(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("config", "a readable file", f"{path}: {error.strerror}", remedy) from error
    except ValueError as error:
        raise ConfigError("config", "YAML", f"{path}: {' '.join(str(error).split())}", remedy) from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError("config", "a mapping of names to values", f"{path}: {type(values).__name__}", remedy)
    return values


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping of several; later ones win, nested mappings are merged key by key."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def dotted(settings: Iterable[str]) -> dict[str, Any]:
    """Overrides as typed on a command line: ``["training.epochs=3"]`` -> ``{"training": {"epochs": 3}}``.

    Raises:
        ConfigError: an entry without ``=`` or with an empty name.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not all(name.split(".")):
            raise ConfigError("--set", "name=value", repr(setting), "write it as training.epochs=3")
        try:
            value = values_of(text)
        except ValueError as error:
            raise ConfigError("--set", "a YAML value", repr(setting), "quote the value") from error
        values = merge(values, nested({name: value}))
    return values


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name as nested ones: ``{"training.epochs": 3}`` -> ``{"training": {"epochs": 3}}``.

    Several names with commas between them get the same value: ``{"tasks.ui,ii.tau": 0.2}`` sets it of both tasks.
    """
    values: dict[str, Any] = {}
    for name, value in settings.items():
        for part in reversed(name.split(".")):
            value = dict.fromkeys(part.split(","), value)
        values = merge(values, value)
    return values


def leaves(settings: Mapping[str, Any], where: str = "") -> list[str]:
    """The dotted names of all that nested settings set: ``{"training": {"epochs": 3}}`` -> ``["training.epochs"]``."""
    found: list[str] = []
    for name, value in settings.items():
        inner = isinstance(value, Mapping) and bool(value)
        found += leaves(value, f"{where}{name}.") if inner else [f"{where}{name}"]
    return found


def parse(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """A config object from plain values.

    Args:
        kind: a dataclass; nested dataclasses are parsed too, and names they do not have are refused.
        values: plain values, as YAML gives them.
        where: dotted name of the place in the whole configuration, for messages.

    Without pydantic, as on a bare GPU machine, names and ranges are checked and types are taken as they come.

    Raises:
        ConfigError: an unknown name (with the nearest known one) or a value of the wrong type or range.
    """
    try:
        from pydantic import TypeAdapter, ValidationError
    except ImportError:
        return _parse_bare(kind, values, where)
    if not hasattr(
        kind, "__pydantic_config__"
    ):  # of a user's own task: pydantic would pass over names it does not have
        for unknown in set(values) - set(_names(kind, [])):
            raise _unknown(".".join(filter(None, [where, unknown])), unknown, _names(kind, []), [])
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        if isinstance(own := first.get("ctx", {}).get("error"), MicgraphError):  # a config's own check of its values
            name = ".".join([*filter(None, [where]), *place, own.argument])
            raise type(own)(name, own.expected, own.got, own.remedy) from None
        name = ".".join([*filter(None, [where]), *place]) or kind.__name__
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            above = place[:-2]
            others = [one for one in _names(kind, above) if place[1:] and place[-1] in _names(kind, [*above, one])]
            raise _unknown(name, place[-1], _names(kind, place[:-1]), others) from None
        if first["type"] in ("tuple_type", "list_type"):
            raise ConfigError(name, "a list", repr(first["input"]), _as_list(first["input"])) from None
        expected = first["msg"].removeprefix("Input should be ")
        raise ConfigError(name, expected, repr(first["input"]), "correct the value") from None


def _parse_bare(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """:func:`parse` without pydantic."""
    hints, known, made = get_type_hints(kind), _names(kind, []), {}
    for name, value in values.items():
        place = ".".join(filter(None, [where, name]))
        if name not in known:
            raise _unknown(place, name, known, [])
        nested_config = is_dataclass(hints[name]) and isinstance(value, Mapping)
        made[name] = _parse_bare(hints[name], value, place) if nested_config else value
        if isinstance(value, list) and "tuple" in str(hints[name]):
            made[name] = tuple(value)
    try:
        return kind(**made)
    except MicgraphError as own:
        name = own.argument if own.argument.startswith(f"{where}.") else ".".join(filter(None, [where, own.argument]))
        raise type(own)(name, own.expected, own.got, own.remedy) from own


def _unknown(place: str, name: str, known: list[str], sections: list[str]) -> ConfigError:
    """An error for a name that is not among the ``known`` ones; ``sections`` have it."""
    remedy = did_you_mean(name, known, "remove it")
    if sections:
        remedy = f"write it as {' or '.join(f'{section}.{name}' for section in sections)}"
    return ConfigError(place, f"one of {known}", repr(name), remedy)


def _as_list(value: Any) -> str:
    """The remedy for one value, or several with commas between them, in the place of a list."""
    if not isinstance(value, (str, int, float)):
        return "write a list such as [a, b]"
    parts = (part.strip() for part in str(value).split(","))
    return f"write [{', '.join(part for part in parts if part)}]"


def _names(kind: Any, path: list[str]) -> list[str]:
    """The field names of the dataclass that lies at ``path`` inside ``kind``."""
    for part in path:
        kind = get_type_hints(kind).get(part) if is_dataclass(kind) else None
    return [f.name for f in fields(kind)] if is_dataclass(kind) else []
