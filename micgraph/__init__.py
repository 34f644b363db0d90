"""micgraph: from behaviour logs to a heterogeneous graph, two towers trained on it, and recalls with their reasons.

The public names below are imported when they are first used, so that ``import micgraph`` loads neither torch
nor torch-geometric. Messages go to the logger ``micgraph`` and nowhere else: ``logging.basicConfig()`` shows them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from micgraph.evaluation import ChannelReport, channel_report
    from micgraph.extending import register_encoder
    from micgraph.graph.appending import append
    from micgraph.graph.build_config import BuildConfig
    from micgraph.graph.builder import build
    from micgraph.graph.events import Log, read_log
    from micgraph.graph.recgraph import RecGraph
    from micgraph.graph.split import Holdout, Split, split
    from micgraph.inspection import inspect
    from micgraph.online import ab_test
    from micgraph.pipeline import evaluate, train
    from micgraph.refreshing import Refreshed, refresh
    from micgraph.reporting import report
    from micgraph.retrieval.extra import register_channel
    from micgraph.retrieval.indexing import tune_index
    from micgraph.retrieval.recommender import Recommender
    from micgraph.retrieval.stages import stage_times
    from micgraph.run import Run, load_run
    from micgraph.schema import (
        ArtifactError,
        ConfigError,
        InputError,
        LeakageError,
        MicgraphError,
        MissingExtraError,
        RankError,
        SchemaError,
        StoreError,
        UnknownIdError,
    )
    from micgraph.stores.lmdb_store import LmdbStore
    from micgraph.stores.redis_store import RedisStore
    from micgraph.tasks.registry import register_task
    from micgraph.tuning import FusionChoice, Tuned, tune, tune_fusion

__version__ = "0.1.0"

__all__ = [
    "ArtifactError",
    "BuildConfig",
    "ChannelReport",
    "ConfigError",
    "FusionChoice",
    "Holdout",
    "InputError",
    "LeakageError",
    "LmdbStore",
    "Log",
    "MicgraphError",
    "MissingExtraError",
    "RankError",
    "RecGraph",
    "Recommender",
    "RedisStore",
    "Refreshed",
    "Run",
    "SchemaError",
    "Split",
    "StoreError",
    "Tuned",
    "UnknownIdError",
    "ab_test",
    "append",
    "build",
    "channel_report",
    "evaluate",
    "inspect",
    "load_run",
    "read_log",
    "refresh",
    "register_channel",
    "register_encoder",
    "register_task",
    "report",
    "split",
    "stage_times",
    "train",
    "tune",
    "tune_fusion",
    "tune_index",
]

_HOMES = {
    "evaluation": ("ChannelReport", "channel_report"),
    "extending": ("register_encoder",),
    "graph.appending": ("append",),
    "graph.build_config": ("BuildConfig",),
    "graph.builder": ("build",),
    "graph.events": ("Log", "read_log"),
    "graph.recgraph": ("RecGraph",),
    "graph.split": ("Holdout", "Split", "split"),
    "inspection": ("inspect",),
    "online": ("ab_test",),
    "pipeline": ("evaluate", "train"),
    "refreshing": ("Refreshed", "refresh"),
    "retrieval.extra": ("register_channel",),
    "reporting": ("report",),
    "retrieval.indexing": ("tune_index",),
    "retrieval.recommender": ("Recommender",),
    "retrieval.stages": ("stage_times",),
    "run": ("Run", "load_run"),
    "stores.lmdb_store": ("LmdbStore",),
    "stores.redis_store": ("RedisStore",),
    "tasks.registry": ("register_task",),
    "tuning": ("FusionChoice", "Tuned", "tune", "tune_fusion"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'micgraph' has no attribute {name!r}")
    value = getattr(import_module(f"micgraph.{_HOME.get(name, 'schema')}"), name)
    globals()[name] = value  # the next access is an ordinary one
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
