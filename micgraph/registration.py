"""Pieces that are known by name and that users may add to. The built-in ones are registered in the same way."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Generic, TypeVar

from micgraph.schema import ConfigError

T = TypeVar("T")

OWN_PAGES = {"encoder": "docs/own-encoder.md", "task": "docs/own-task.md", "channel": "docs/own-channel.md"}


class Names(dict[str, T], Generic[T]):
    """What is registered under each name, and by which module.

    Args:
        kind: ``encoder``, ``task`` or ``channel``.
        reserved: names that mean something else and cannot be taken.

    Attributes:
        made: module and name of the class or function behind each name.
    """

    def __init__(self, kind: str, reserved: Collection[str] = ()) -> None:
        super().__init__()
        self.kind, self.reserved = kind, frozenset(reserved)
        self.made: dict[str, tuple[str, str]] = {}

    def add(self, name: str, entry: T, make: Any) -> None:
        """Register ``entry``, which ``make`` makes, under a name.

        The same class or function again, as when a notebook's cell is run twice, replaces itself.

        Raises:
            ConfigError: no name that a config can use, or one that is taken.
        """
        if not isinstance(name, str) or not name.isidentifier():
            remedy = f"choose a name such as my_{self.kind}"
            raise ConfigError("name", "letters, digits and underscores, without blanks or '+'", repr(name), remedy)
        place = _place(make)
        if name in self.reserved or self.made.get(name, place) != place:
            got = f"{name!r}, which is taken" + (f" by {'.'.join(self.made[name])}" if name in self.made else "")
            raise ConfigError("name", f"a new name of a {self.kind}", got, f"choose another name, such as my_{name}")
        self[name], self.made[name] = entry, place

    def module_of(self, name: str) -> str | None:
        """The user's module that has registered a name; None for what is built in."""
        module = self.made[name][0] if name in self.made else "micgraph"
        return None if module.split(".")[0] == "micgraph" else module

    def require(self, name: str, module: str | None, setting: str) -> None:
        """Refuse what a saved run was made with and nobody has registered in this process.

        Modules are not imported because a file names them: a run's files are data, as with pickles not read.

        Args:
            name: as the saved settings have it.
            module: what had registered it, None where that is not known.
            setting: where the settings have it.

        Raises:
            ConfigError: names the module to import.
        """
        if name in self or module is None:
            return
        remedy = f"import {module} before loading, or call micgraph --import {module} on the command line"
        if module == "__main__":
            remedy = f"register it as the script that trained did: micgraph.register_{self.kind}({name!r}, ...)"
        raise ConfigError(setting, f"a registered {self.kind}", f"{name!r}, which {module} registered", remedy)


def check_kind(kind: str, name: str, made: Any, base: type) -> None:
    """Refuse a class that is not derived from what its kind asks for, and what cannot be called at all.

    Raises:
        ConfigError: names the base class.
    """
    wrong = not issubclass(made, base) if isinstance(made, type) else not callable(made)
    if wrong:
        got = f"{made.__name__}" if isinstance(made, type) else f"a {type(made).__name__}"
        expected = f"a subclass of {base.__module__}.{base.__name__}, or a function that makes one"
        raise ConfigError(f"{kind} {name}", expected, got, f"see {OWN_PAGES[kind]}")


def call(make: Callable[..., T], given: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> T:
    """Call a class or function with those of the ``given`` arguments that its signature names, and all ``options``.

    Raises:
        TypeError: an argument that it does not have, one that it has been given twice, or one that is missing.
    """
    named = inspect.signature(make).parameters
    return make(**{name: value for name, value in given.items() if name in named}, **(options or {}))


def _place(make: Any) -> tuple[str, str]:
    """Module and qualified name of a class or function; of a partial of what it calls."""
    while isinstance(make, partial):
        make = make.func
    made = make if hasattr(make, "__qualname__") else type(make)
    return made.__module__, made.__qualname__
