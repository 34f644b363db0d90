"""Tasks by name. A new task is one class and one line that registers it, here or in a user's module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

from torch.nn import ModuleDict

from micgraph.config import parse
from micgraph.graph.fields import Fields
from micgraph.nn.towers import TwoTower
from micgraph.registration import Names, call, check_kind
from micgraph.sampling.plan import Requires
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
        build: a :class:`Task`, or a function that makes one. Those of ``config`` (an object of that class), ``towers``
            and ``fields`` (of every item of the graph) that its signature names are given to it.
        defaults: where this name differs from the class's own defaults.
    """

    config: type
    build: Callable[..., Task]
    defaults: dict[str, Any]

    def make(self, config: Any, towers: TwoTower, fields: Fields) -> Task:
        """The task.

        Raises:
            ConfigError: its signature has other names without a default, what was made is no task, or one without its
                weight or what it requires.
        """
        asked = (
            f"task {_called(self.build)}",
            "a signature with some of config, towers, fields",
            "see docs/own-task.md",
        )
        task = call(self.build, {"config": config, "towers": towers, "fields": fields}, asked=asked)
        ready = (
            isinstance(task, Task) and hasattr(task, "weight") and isinstance(getattr(task, "requires", 0), Requires)
        )
        if not ready:
            expected = "a Task that has set its weight and, as a Requires, what it requires"
            raise ConfigError(f"task {_called(self.build)}", expected, f"{task!r}", "set both in __init__")
        return task


GROUPS = {"micrec": ("fea", "sem", "sess"), "mic": ("ui", "uu", "ii"), "rfm_star": ("fea",)}
"""Names that stand for others: several tasks, or one by another name. MicRec's baseline RFM* is RFM with element
dropout in the place of masked fields, which is its own feature task (5.2, DECISIONS 17)."""

TASKS: Names[TaskType] = Names("task", reserved=(*GROUPS, *dir(ModuleDict)))  # which holds a run's tasks by name


def register_task(
    name: str, task: Callable[..., Task], config: type, defaults: Mapping[str, Any] | None = None
) -> None:
    """Let ``encoder+name`` and the section ``tasks.name`` mean a loss of your own; ``docs/own-task.md`` shows one.

    Built-in tasks are registered by the same function.

    Args:
        name: letters, digits and underscores.
        task: a subclass of :class:`micgraph.tasks.base.Task`, or a function that makes one. It is called with those of
            ``config``, ``towers`` and ``fields`` that its signature names.
        config: a dataclass of its settings, each with a default; ``weight`` multiplies the loss.
        defaults: where this name differs from the dataclass's own defaults.

    Raises:
        ConfigError: a name that is taken or none at all, a class that is no task, a config that is no dataclass, or
            defaults that it does not take.
    """
    check_kind("task", name, task, Task)
    if not (isinstance(config, type) and is_dataclass(config)):
        got = config.__name__ if isinstance(config, type) else f"a {type(config).__name__}"
        raise ConfigError(f"task {name}", "a dataclass as its config", got, "see docs/own-task.md")
    parse(config, defaults or {}, f"tasks.{name}")
    TASKS.add(name, TaskType(config, task, dict(defaults or {})), task)


def _called(build: Any) -> str:
    return getattr(build, "__name__", repr(build))


def _random(config: MaskingConfig, towers: TwoTower, fields: Fields) -> MaskedCL:
    return MaskedCL(config, towers, fields, correlated=False)


def _correlated(config: MaskingConfig, towers: TwoTower, fields: Fields) -> MaskedCL:
    return MaskedCL(config, towers, fields, correlated=True)


def _semantic(config: NeighbourConfig, towers: TwoTower) -> NeighbourCL:
    return NeighbourCL(config, SIMILAR, towers.config.dim)


def _session(config: NeighbourConfig, towers: TwoTower) -> NeighbourCL:
    return NeighbourCL(config, CO_OCCURS, towers.config.dim)


register_task("matching", Matching, MatchingConfig)
register_task("fea", FeatureCL, FeatureConfig, {"weight": 1.0})
register_task("rfm", _random, MaskingConfig)
register_task("cfm", _correlated, MaskingConfig)
register_task("sem", _semantic, NeighbourConfig, {"weight": 0.3})
register_task("sess", _session, NeighbourConfig, {"weight": 0.1})
register_task("ui", UserItem, ChannelConfig)
register_task("uu", UserUser, UserUserConfig)
register_task("ii", ItemItem, ChannelConfig)
TASKS.close_built_in()


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
        remedy = did_you_mean(unknown[0], known, "write them as encoder+task+task, or register your own first")
        raise ConfigError("tasks", f"some of {known}", f"{unknown}", remedy)
    return list(dict.fromkeys(spelled))


def contract(names: list[str]) -> list[str]:
    """The opposite of :func:`expand`: task names with whole groups by their own name, and without ``matching``; of two
    names for one task the shorter."""
    whole = {group: tasks for group, tasks in GROUPS.items() if len(tasks) > 1 and set(tasks) <= set(names)}
    grouped = {task for tasks in whole.values() for task in tasks}
    return [*whole, *(name for name in names if name not in grouped and name != "matching")]
