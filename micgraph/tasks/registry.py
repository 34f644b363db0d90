"""Tasks by name. A new task is one class and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from micgraph.graph.fields import Fields
from micgraph.nn.towers import TwoTower
from micgraph.schema import CO_OCCURS, SIMILAR, ConfigError, did_you_mean
from micgraph.tasks.bank import Bank
from micgraph.tasks.base import Task
from micgraph.tasks.channel import ChannelConfig, ItemItem, UserItem, UserUser, UserUserConfig
from micgraph.tasks.feature import FeatureCL, FeatureConfig, MaskedCL, MaskingConfig
from micgraph.tasks.matching import Matching, MatchingConfig
from micgraph.tasks.mining import TABLES_UP_TO, Mining, MiningConfig
from micgraph.tasks.neighbour import NeighbourCL, NeighbourConfig
from micgraph.tasks.tables import Tables


@dataclass(frozen=True)
class TaskType:
    """How a named task is configured and made.

    Attributes:
        config: its configuration class.
        make: (config, towers, the catalogue's item fields) -> task.
        defaults: where this name differs from the class's own defaults.
    """

    config: type
    make: Callable[[Any, TwoTower, Fields], Task]
    defaults: dict[str, Any]


TASKS: dict[str, TaskType] = {
    "matching": TaskType(MatchingConfig, lambda c, t, f: Matching(c), {}),
    "fea": TaskType(FeatureConfig, FeatureCL, {"weight": 1.0}),
    "rfm": TaskType(MaskingConfig, lambda c, t, f: MaskedCL(c, t, f, correlated=False), {}),
    "cfm": TaskType(MaskingConfig, lambda c, t, f: MaskedCL(c, t, f, correlated=True), {}),
    "sem": TaskType(NeighbourConfig, lambda c, t, f: NeighbourCL(c, SIMILAR, t.config.dim), {"weight": 0.3}),
    "sess": TaskType(NeighbourConfig, lambda c, t, f: NeighbourCL(c, CO_OCCURS, t.config.dim), {"weight": 0.1}),
    "ui": TaskType(ChannelConfig, lambda c, t, f: UserItem(c), {}),
    "uu": TaskType(UserUserConfig, lambda c, t, f: UserUser(c), {}),
    "ii": TaskType(ChannelConfig, lambda c, t, f: ItemItem(c), {}),
}

GROUPS = {"micrec": ("fea", "sem", "sess"), "mic": ("ui", "uu", "ii"), "rfm_star": ("fea",)}
"""Names that stand for others: several tasks, or one by another name. MicRec's baseline RFM* is RFM with element
dropout in the place of masked fields, which is its own feature task (5.2, DECISIONS 17)."""


def make_mining(config: MiningConfig, tasks: Iterable[Task], n_nodes: int) -> Mining | None:
    """What mines for these tasks; None if none of them asks for it.

    Args:
        n_nodes: users and items together, which decides in ``mode="auto"``.
    """
    directions = {direction for task in tasks for direction in task.mines}
    if not directions or config.mode == "none":
        return None
    small = config.mode == "tables" or (config.mode == "auto" and n_nodes <= TABLES_UP_TO)
    return (Tables if small else Bank)(config, directions)


def expand(names: list[str]) -> list[str]:
    """Task names with the groups spelled out, each once.

    Raises:
        ConfigError: no such task (with the nearest known one).
    """
    spelled = [task for name in names for task in GROUPS.get(name, (name,))]
    unknown = [name for name in spelled if name not in TASKS]
    if unknown:
        known = sorted(set(TASKS) | set(GROUPS))
        remedy = did_you_mean(unknown[0], known, "write them as encoder+task+task")
        raise ConfigError("tasks", f"some of {known}", f"{unknown}", remedy)
    return list(dict.fromkeys(spelled))


def contract(names: list[str]) -> list[str]:
    """The opposite of :func:`expand`: task names with whole groups by their own name, and without ``matching``; of two
    names for one task the shorter."""
    whole = {group: tasks for group, tasks in GROUPS.items() if len(tasks) > 1 and set(tasks) <= set(names)}
    grouped = {task for tasks in whole.values() for task in tasks}
    return [*whole, *(name for name in names if name not in grouped and name != "matching")]
