"""Pieces that are known by name and that users may add to. The built-in ones are registered in the same way."""

from __future__ import annotations

import inspect
import keyword
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any, Generic, TypeVar

from micgraph.schema import ConfigError

T = TypeVar("T")

OWN_PAGES = {"encoder": "docs/own-encoder.md", "task": "docs/own-task.md", "channel": "docs/own-channel.md"}
YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "none"})
"""Names that a YAML file or its reader takes for something else than a string."""


@dataclass(frozen=True)
class Origin:
    """Where a name comes from.

    Attributes:
        make: the class or function behind it.
        module: the module that registered it, which is the one to import; a class may come from another.
    """

    make: Any
    module: str


class Names(dict[str, T], Generic[T]):
    """What is registered under each name, and by which module.

    Args:
        kind: ``encoder``, ``task`` or ``channel``.
        reserved: names that mean something else and cannot be taken.

    Attributes:
        made: the class or function behind each name, and who registered it.
        built_in: the names that are the package's own, which nobody can take.
    """

    def __init__(self, kind: str, reserved: Collection[str] = ()) -> None:
        super().__init__()
        self.kind, self.reserved = kind, frozenset(reserved)
        self.made: dict[str, Origin] = {}
        self.built_in: frozenset[str] = frozenset()

    def add(self, name: str, entry: T, make: Any) -> None:
        """Register ``entry``, which ``make`` makes, under a name.

        The same class or function again, as when a notebook's cell is run twice or a module is loaded again, replaces
        itself. By its name only what stands at the top of a module is known again: two closures share theirs.

        Raises:
            ConfigError: no name that a config can use, or one that is taken.
        """
        if not isinstance(name, str) or not name.isidentifier():
            remedy = f"choose a name such as my_{self.kind}"
            raise ConfigError("name", "letters, digits and underscores, without blanks or '+'", repr(name), remedy)
        if keyword.iskeyword(name) or name.casefold() in YAML_WORDS:
            expected, remedy = "a name that is no word of Python or YAML", f"choose another name, such as my_{name}"
            raise ConfigError("name", expected, repr(name), remedy)
        self._check_free(name, make)
        self[name], self.made[name] = entry, Origin(make, _caller())

    def _check_free(self, name: str, make: Any) -> None:
        for other in (*self.reserved, *self):
            own = other in self and other not in self.built_in
            again = other == name and own and _same(self.made[other].make, make)
            if other.casefold() != name.casefold() or again:
                continue
            got = f"{name!r}, which is taken" + (
                f" by {'.'.join(_place(self.made[other].make))}" if other in self else ""
            )
            got += "" if other == name else f", as {other!r}"
            remedy = f"choose another name, such as my_{name}"
            raise ConfigError("name", f"a new name of a {self.kind}, in small and capital letters alike", got, remedy)

    def close_built_in(self) -> None:
        """Say that what is registered so far is the package's own."""
        self.built_in = frozenset(self)

    def module_of(self, name: str) -> str | None:
        """The user's module that has registered a name; None for what is built in."""
        return self.made[name].module if name in self.made and name not in self.built_in else None

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


def call(
    make: Callable[..., T],
    given: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    *,
    asked: tuple[str, str, str],
) -> T:
    """Call a class or function with those of the ``given`` arguments that its signature names, and all ``options``.

    Args:
        asked: argument, expected and remedy of the error about arguments.

    Raises:
        ConfigError: an argument that it does not have, one that it has been given twice, or one that is missing. What
            it raises itself goes through as it is, a TypeError too.
    """
    signature, argument, expected, remedy = inspect.signature(make), *asked
    arguments = {name: value for name, value in given.items() if name in signature.parameters}
    twice = sorted(set(arguments) & set(options or {}))
    if twice:
        raise ConfigError(argument, expected, f"{twice}, which it is given anyway", remedy)
    arguments.update(options or {})
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ConfigError(argument, expected, str(error), remedy) from error
    return make(**arguments)


def _caller() -> str:
    """The module outside this package that is registering; of the package's own registrations it says nothing."""
    frame = sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).split(".")[0] == "micgraph":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "__main__"))


def _same(old: Any, new: Any) -> bool:
    """Whether it is one object, or a class or function at the top of a module that was made anew."""
    plain = all(isinstance(made, type | FunctionType) and "<" not in made.__qualname__ for made in (old, new))
    closed = any(getattr(made, "__closure__", None) for made in (old, new))
    return old is new or (plain and not closed and _place(old) == _place(new))


def _place(make: Any) -> tuple[str, str]:
    """Module and qualified name of a class or function; of a partial of what it calls."""
    while isinstance(make, partial):
        make = make.func
    made = make if hasattr(make, "__qualname__") else type(make)
    return made.__module__, made.__qualname__
