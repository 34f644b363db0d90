"""Encoders of a user's own, with their presets, and the modules that register such things."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from micgraph.config import merge, parse
from micgraph.nn.query import QueryEncoder
from micgraph.nn.registry import add_encoder
from micgraph.presets import ENCODER_PRESETS, RunConfig
from micgraph.schema import ConfigError, InputError


def register_encoder(
    name: str, encoder: Callable[..., QueryEncoder], preset: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Let a name such as ``my_gru`` or ``my_gru+mic`` mean a query encoder of your own; ``docs/own-encoder.md`` shows
    one.

    Built-in encoders are registered in the same way. Register at the top of a module, so that whoever loads a run can
    import it: a run keeps the module's name, and nothing is imported because a file names it.

    Args:
        name: letters, digits and underscores.
        encoder: a subclass of :class:`micgraph.nn.query.QueryEncoder`, or a function that makes one. It is called with
            those of ``dim``, ``user_width``, ``field_dim``, ``n_fields``, ``history``, ``dropout`` and
            ``graph_options`` that its signature names, and with ``model.options``.
        preset: settings of a run, by section, that this name brings where the config does not say otherwise.

    Raises:
        ConfigError: a name that is taken or none at all, a class that is no query encoder, or a preset with settings
            that there are not.
    """
    given = {section: dict(settings) for section, settings in (preset or {}).items()}
    parse(RunConfig, merge(given, {"model": {"encoder": name if isinstance(name, str) else ""}}))
    add_encoder(name, encoder)
    ENCODER_PRESETS[name] = given


def import_modules(names: Iterable[str]) -> None:
    """Import modules that register encoders, tasks or channels; the working directory is searched first.

    Raises:
        ConfigError: no such module.
        InputError: it could not be imported.
    """
    names = list(names)
    if names and "" not in sys.path:
        sys.path.insert(0, "")
    for name in names:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise InputError("--import", f"{name} to import", str(error), "install what it imports") from error
            remedy = "name it as in Python's import, from the folder that holds it"
            raise ConfigError("--import", "a module", f"{name!r}, which is not found", remedy) from error
        except Exception as error:
            got, remedy = f"{type(error).__name__}: {error}", f"try python -c 'import {name}'"
            raise InputError("--import", f"{name} to import", got, remedy) from error
