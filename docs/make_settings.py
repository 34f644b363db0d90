"""Writes docs/settings.md from the docstrings of the configuration classes: python docs/make_settings.py."""

from __future__ import annotations

import re
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from micgraph.graph import split
from micgraph.graph.build_config import BuildConfig
from micgraph.knn.index_config import IndexConfig
from micgraph.nn.towers import ModelConfig
from micgraph.retrieval.fusion import FusionConfig
from micgraph.sampling.samples import SamplingConfig
from micgraph.tasks.augment import PerturbConfig
from micgraph.tasks.mining import MiningConfig
from micgraph.tasks.registry import TASKS
from micgraph.training import TrainingConfig

PAGE = Path(__file__).with_name("settings.md")
SECTIONS: dict[str, type] = {
    "build": BuildConfig,
    "model": ModelConfig,
    "sampling": SamplingConfig,
    "perturb": PerturbConfig,
    "mining": MiningConfig,
    "training": TrainingConfig,
    "fusion": FusionConfig,
    "fusion.item_index, fusion.user_index": IndexConfig,
}
HEAD = """# Settings

Every section of a configuration, in Python (`config={"training": {"epochs": 3}}`), in YAML and on the command line
(`--set training.epochs=3`). An encoder's preset and the tasks in a model's name change some defaults; what a run used
is in its `setup` folder. A section with nothing below it has its defaults; `tasks: {sem: false}` leaves out a task that
the model's name or a group brings, `mining: {mode: none}` the mining and `perturb: {sides: none}` the perturbation.
`{}` is a task with its defaults. This page is made by `python docs/make_settings.py` from the classes' docstrings.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for name, kind in SECTIONS.items():
        parts.append(f"## {name}\n\n{_table(kind, {})}")
    for name, task in TASKS.items():
        parts.append(f"## tasks.{name}\n\n{_summary(task.config)}\n\n{_table(task.config, task.defaults)}")
    parts.append("## split\n\n`mg.split(log, kind, ...)`, or `kind` and the same names in YAML.")
    parts += [
        f"### {f.__name__}\n\n{_arguments(f)}" for f in (split.temporal, split.user_holdout, split.leave_last_out)
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _table(kind: type, defaults: dict[str, Any]) -> str:
    meanings = _entries(kind.__doc__ or "", "Attributes")
    rows = [f"| `{f.name}` | `{defaults.get(f.name, _default(f))}` | {meanings[f.name]} |" for f in fields(kind)]
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])


def _arguments(function: Any) -> str:
    meanings = _entries(function.__doc__, "Args")
    lines = [_paragraph(function.__doc__), *(f"- `{name}`: {text}" for name, text in meanings.items() if name != "log")]
    return "\n\n".join([lines[0], "\n".join(lines[1:])]).strip()


def _entries(doc: str, section: str) -> dict[str, str]:
    """Name -> meaning of one section of a docstring; names that share an entry share its meaning."""
    body = re.search(rf"^ *{section}:\n(.*?)(?=^ *(?:Raises|Returns|Args|Attributes):|\Z)", doc, re.S | re.M)
    found: dict[str, str] = {}
    for match in re.finditer(r"^ {8}(\w[\w, ]*): (.*?)(?=^ {8}\w|\Z)", body[1] if body else "", re.S | re.M):
        text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", " ".join(match[2].split())).replace("``", "`")
        found |= dict.fromkeys((name.strip() for name in match[1].split(",")), text.replace("|", "\\|"))
    return found


def _paragraph(doc: str) -> str:
    text = re.split(r"\n\s*(?:Args|Raises|Returns):", doc)[0]
    return " ".join(text.split()).replace("``", "`")


def _summary(kind: type) -> str:
    return _paragraph((kind.__doc__ or "").split("Attributes:")[0])


def _default(setting: Field[Any]) -> Any:
    if is_dataclass(setting.default):
        return "its defaults"
    if setting.default is not MISSING:
        return setting.default
    return setting.default_factory() if setting.default_factory is not MISSING else "required"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
