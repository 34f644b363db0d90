"""docs/api.md is what its script makes of the docstrings, and these say what they should."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import micgraph

DOCS = Path(__file__).resolve().parents[1] / "docs"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_api", DOCS / "make_api.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = _script()
OBJECTS = {name: value for group in SCRIPT.public().values() for name, value in group.items()}
CALLABLES: dict[str, tuple[Any, str]] = {
    name: (value, value.__doc__ or "") for name, value in OBJECTS.items() if inspect.isfunction(value)
}
for _name, _kind in OBJECTS.items():
    if isinstance(_kind, type) and not issubclass(_kind, Exception):
        for _member, _value in SCRIPT.members(_kind):
            _function = getattr(_value, "fget", None) or getattr(_value, "__func__", _value)
            CALLABLES[f"{_name}.{_member}"] = (_function, SCRIPT._doc(_kind, _member))


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "api.md").read_text(encoding="utf-8") == SCRIPT.page(), "run python docs/make_api.py"


def test_every_public_name_is_there_once_and_linked() -> None:
    shown = [f"mg.{name}" for name in micgraph.__all__]
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (\S+)$", text, re.M)
    assert sorted(headings) == sorted(OBJECTS) and set(shown) <= set(headings)
    links = re.findall(r"\]\(#(.+?)\)", text)
    assert len(links) == len(set(links)) == len(headings)


def test_the_page_has_no_trace_of_sphinx_or_of_memory() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    assert not re.search(r":(?:class|func|meth|mod|data|attr):|``(?!`)(?<!```)\w|object at 0x|<function", text)


@pytest.mark.parametrize("name", CALLABLES)
def test_every_function_and_method_says_what_it_does(name: str) -> None:
    assert len(CALLABLES[name][1].split()) >= 3


@pytest.mark.parametrize("name", [name for name, value in OBJECTS.items() if isinstance(value, type)])
def test_every_class_says_what_it_is(name: str) -> None:
    value = OBJECTS[name]
    assert "doc" not in vars(value) and len((value.__doc__ or "").split()) >= 3
    assert not (value.__doc__ or "").startswith(f"{value.__name__}("), "a dataclass without a docstring"


def _raises(function: Any) -> set[str]:
    """Names of the errors that a function's own source raises."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    return {name for name in names if name.endswith("Error") and name != "NotImplementedError"}


@pytest.mark.parametrize("name", CALLABLES)
def test_errors_that_it_raises_itself_are_told(name: str) -> None:
    function, doc = CALLABLES[name]
    section = doc.partition("Raises:")[2]
    assert all(error in section for error in _raises(function)), _raises(function)


@pytest.mark.parametrize("name", CALLABLES)
def test_tensors_have_shapes(name: str) -> None:
    """Of whatever takes or gives tensors the docstring, or the class's, has a shape such as [B, T]."""
    function, doc = CALLABLES[name]
    hints = {key: str(kind) for key, kind in inspect.get_annotations(function).items()}
    if not any(re.search(r"\bTensor\b", kind) for kind in hints.values()):
        return
    owner = OBJECTS.get(name.rpartition(".")[0])
    assert re.search(r"\[(?:[A-Z.\d]|n\b|n_|\])", doc + (getattr(owner, "__doc__", None) or "")), hints
