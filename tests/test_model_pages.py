"""docs/encoders.md and docs/tasks.md: everything that is registered is there, and every config line resolves."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from micgraph.config import parse
from micgraph.nn.registry import ENCODERS, GIVEN
from micgraph.nn.towers import TwoTower
from micgraph.presets import resolve
from micgraph.schema import CO_OCCURS, SIMILAR
from micgraph.tasks.objective import Objective
from micgraph.tasks.registry import GROUPS, TASKS, expand
from tests.toy import item_fields, user_fields

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("encoders", "tasks")}


def sections(page: str) -> dict[str, str]:
    """The text below each second-level heading."""
    parts = re.split(r"^## (.+)$", PAGES[page], flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.M | re.S)


CONFIGS = [
    (page, heading, text) for page in PAGES for heading, body in sections(page).items() for text in blocks(body, "yaml")
]


def options_of(encoder: str) -> set[str]:
    """Names of an encoder's own options, through the functions that only pass them on."""
    make = ENCODERS[encoder]
    while isinstance(make, partial):
        make = make.func
    return {name for name, p in inspect.signature(make).parameters.items() if p.kind != p.VAR_KEYWORD} - set(GIVEN)


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_every_encoder_has_its_section(encoder: str) -> None:
    text = sections("encoders")[encoder]
    assert blocks(text, "math") and "When: " in text
    (config,) = [yaml.safe_load(one) for one in blocks(text, "yaml")]
    assert config["model"]["encoder"] == encoder
    assert all(f"`{option}`" in text for option in options_of(encoder))


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_its_section(task: str) -> None:
    text = sections("tasks")[task]
    assert blocks(text, "math") and "Needs: " in text and "Costs: " in text
    configs = [yaml.safe_load(one) for one in blocks(text, "yaml")]
    (shown,) = [config["tasks"][task] for config in configs]
    missing = {f.name for f in fields(TASKS[task].config)} - set(shown) - {"weight"}
    assert all(f"`{name}`" in text for name in missing), missing


def test_pages_have_nothing_that_is_not_there() -> None:
    assert set(sections("encoders")) - {"Which one", "Notation"} == set(ENCODERS)
    assert set(sections("tasks")) - {"Which ones", "Notation", "Mining"} == set(TASKS)
    assert all(f"`{name}`" in PAGES["tasks"] for name in GROUPS)


@pytest.mark.parametrize(("page", "heading", "text"), CONFIGS, ids=lambda value: value if len(value) < 20 else "")
def test_every_config_line_makes_a_model(page: str, heading: str, text: str) -> None:
    """Through the loader of YAML files, and then as towers and tasks on a toy catalogue."""
    run = resolve(None, yaml.safe_load(text), 12)
    items, users = item_fields(12), user_fields(6)
    towers = TwoTower(run.model, items, users)
    tasks = {name: TASKS[name].make(run.task_config(name), towers, items) for name in run.tasks}
    assert Objective(towers, tasks, items, users).tasks.keys() == run.tasks.keys()


@pytest.mark.parametrize(("page", "heading", "text"), CONFIGS, ids=lambda value: value if len(value) < 20 else "")
def test_written_values_are_the_defaults_or_are_meant(page: str, heading: str, text: str) -> None:
    """A config line of a task shows its defaults, so that a page cannot fall behind a changed one."""
    shown: dict[str, Any] = yaml.safe_load(text).get("tasks", {}).get(heading) or {}
    if heading in TASKS:
        kind = TASKS[heading]
        assert parse(kind.config, {**kind.defaults, **shown}) == parse(kind.config, kind.defaults)


@pytest.mark.parametrize("piece", ["encoder", "task", "channel"])
def test_a_page_of_ones_own_is_short_and_has_code(piece: str) -> None:
    """tests/test_readme.py runs it."""
    text = (DOCS / f"own-{piece}.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert f"mg.register_{piece}(" in text and len(blocks(text, "python")) == 2


def test_relations_that_tasks_need_are_named() -> None:
    text = sections("tasks")
    assert f"`{SIMILAR}`" in text["sem"] and f"`{CO_OCCURS}`" in text["sess"]
    assert set(expand(["micrec", "mic"])) <= set(text)
