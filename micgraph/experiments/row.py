"""What a table's rows are: a named model with its settings, and the ways in which lists are made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from micgraph.retrieval.channels import CHANNELS, ChannelName
from micgraph.schema import ConfigError


@dataclass(frozen=True)
class View:
    """One way of making lists of a trained model: one line of the table.

    Attributes:
        label: what is added to the row's name.
        channels: whose candidates are fused; None is the plain U2I search.
        fusion: settings over those that validation chose.
        recent: candidates of the U2I search are items clicked so long before the graph's end, such as ``"6h"``.
        base: the line that this one is compared with, instead of the row's base.
        against: labels of the base's views that it is compared with; None is the same view of it.
        fusions: settings among which validation chooses for this view alone, with its channels; None takes those that
            are chosen for the row.
    """

    label: str = ""
    channels: tuple[ChannelName, ...] | None = None
    fusion: Mapping[str, Any] = field(default_factory=dict)
    recent: str | None = None
    base: str | None = None
    against: tuple[str, ...] | None = None
    fusions: tuple[Mapping[str, Any], ...] | None = None

    @property
    def options(self) -> list[dict[str, Any]]:
        """What validation chooses among for this view alone, whole; none where it takes the row's choice."""
        channels = {} if self.channels is None else {"channels": list(self.channels)}
        return [{**one, **self.fusion, **channels} for one in self.fusions or ()]


U2I = View()
FUSED = View(", fused", CHANNELS)
FUSED_AGAINST_BOTH = View(", fused", CHANNELS, against=("", ", fused"))
"""What MIC calls its model: tasks and channels together, against the base alone and against the base's channels."""
LINEAR: Mapping[str, Any] = {"fusion": "learned", "lambda_div": 0.0, "learn_from": ["u2i_score", "i2i_weight"]}
FUSIONS: tuple[Mapping[str, Any], ...] = (
    {},
    {"basic": "score"},
    {"basic": "score", "count_scale": "log", "lambda_div": 0.0},
    {"fusion": "learned", "lambda_div": 0.0},
    {"fusion": "learned", "lambda_div": 0.0, "neighbors": "co_occurs"},
    {**LINEAR, "neighbors": "follows", "follow_window": 20, "decay": 0.9, "m": 20, "m3": 400},
    {**LINEAR, "neighbors": "ease", "m": 200, "m3": 100},
)
"""How channels may be fused: validation data chooses among those that the size of the data allows."""


@dataclass(frozen=True)
class Row:
    """One row of a table, trained once a seed; every view of it is a line.

    Attributes:
        name: what the table calls it.
        model: encoder and tasks, as :func:`micgraph.train` takes them; None for a reference row.
        baseline: of a reference row: ``popularity``, ``itemknn`` or ``ease``.
        config: settings that differ from the presets, or arguments of the baseline.
        search: what may be tuned, see :func:`micgraph.tuning.read_space`; of a reference row a grid, whose values are
            all tried where a table tunes.
        base: the row, or rows, that this one is compared with; a view is compared with the same view of it, where it
            has that.
        views: the lines.
        fusions: settings among which validation chooses, where a view fuses; a single one is taken as it is.
        missing: why this data set cannot have the row.
        fixed: settings that make the row what it is, such as what an ablation leaves out: nothing overrides them.
    """

    name: str
    model: str | None = None
    baseline: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    base: str | tuple[str, ...] | None = None
    views: tuple[View, ...] = (U2I,)
    fusions: tuple[Mapping[str, Any], ...] = FUSIONS
    missing: str | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bases(self) -> tuple[str, ...]:
        """The rows that this one is compared with."""
        return () if self.base is None else (self.base,) if isinstance(self.base, str) else self.base

    @property
    def slug(self) -> str:
        """The name as a file's name."""
        return re.sub(r"[^a-z0-9*+_]+", "-", self.name.lower()).strip("-").replace("*", "-star")

    @property
    def own_options(self) -> dict[str, list[dict[str, Any]]]:
        """Label of a view -> what validation chooses among for it alone, where it does."""
        return {view.label: view.options for view in self.views if view.options}

    @property
    def lines(self) -> list[str]:
        """Names of the table's lines that this row fills."""
        return [self.name + view.label for view in self.views]


def chosen(rows: list[Row], names: str | None) -> list[Row]:
    """The rows that were asked for, in the table's order.

    Args:
        rows: all rows.
        names: names or their file names, separated by commas; None for all.

    Raises:
        ConfigError: no such row.
    """
    if names is None:
        return rows
    wanted = [name.strip() for name in names.split(",")]
    known = {key: row for row in rows for key in (row.name, row.name.lower(), row.slug)}
    unknown = [name for name in wanted if name not in known and name.lower() not in known]
    if unknown:
        expected = f"some of {', '.join(row.name for row in rows)}"
        raise ConfigError("--rows", expected, repr(unknown[0]), "name rows, separated by commas")
    slugs = {known[name if name in known else name.lower()].slug for name in wanted}
    return [row for row in rows if row.slug in slugs]


def comparisons(rows: list[Row]) -> list[tuple[str, str]]:
    """(line, the line that it is compared with) for every line that has one, or several."""
    lines = {line for row in rows for line in row.lines}
    found: list[tuple[str, str]] = []
    for row in rows:
        for view in row.views:
            labels = (view.label,) if view.against is None else view.against
            same = [(base + label, base) for base in row.bases for label in labels]
            bases = [view.base] if view.base else [line if line in lines else base for line, base in same]
            found += [(row.name + view.label, base) for base in dict.fromkeys(bases) if base in lines]
    return found
