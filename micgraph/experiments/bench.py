"""The data that all rows of a table share: what they are trained on, chosen on and judged on."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from micgraph import artifact
from micgraph.evaluation import EvalData, prepare
from micgraph.graph.build_config import BuildConfig
from micgraph.graph.builder import build
from micgraph.graph.events import Log
from micgraph.graph.recgraph import RecGraph
from micgraph.graph.split import Split, split
from micgraph.graph.storage import FORMAT
from micgraph.schema import ConfigError

GRAPHS = f"2, {FORMAT}"
"""Of kept graphs: of how they are named, and of how a graph is stored. Raise the first where building changes."""


@dataclass(frozen=True)
class Bench:
    """One data set under one protocol.

    Attributes:
        title: of the data and the protocol.
        graph: what the judged models are trained on.
        valid: selects their best epoch; None where the number of epochs is chosen beforehand, on ``develop``.
        test: judged once a row and seed.
        develop: the graph and the validation data on which settings are chosen; never the test.
        ks: lengths of the lists.
        filter_seen: whether lists leave out the history.
        monitor: the validation metric that chooses epochs and settings.
        notes: what a reader of the table must know of the data.
        seen_too: also judge lists that may repeat the history, as the figures named ``recall@50, seen too`` and so on.
        fusion_users: views that choose their fusion for themselves do so on at most so many users of the validation
            data, drawn by chance and always the same ones; None takes all.
    """

    title: str
    graph: RecGraph
    valid: EvalData | None
    test: EvalData
    develop: tuple[RecGraph, EvalData]
    ks: tuple[int, ...]
    filter_seen: bool = True
    monitor: str = "recall@50"
    notes: tuple[str, ...] = ()
    seen_too: bool = False
    fusion_users: int | None = None

    def describe(self) -> dict[str, Any]:
        """What a stored result must agree with, under the names :data:`micgraph.experiments.record.SHARED`."""
        return {
            "graph": self.graph.fingerprint(),
            "test": self.test.manifest.get("split"),
            "test_data": fingerprint(self.test),
            "validation": fingerprint(self.develop[1]),
            "develop": self.develop[0].fingerprint(),
            "ks": list(self.ks),
            "filter_seen": self.filter_seen,
            "seen_too": self.seen_too,
            "monitor": self.monitor,
        }


def fingerprint(data: EvalData) -> str:
    """A hash of who is judged, from which histories, on which clicks, in the numbers of which graph."""
    digest = hashlib.sha256(repr([data.graph, data.n_items, data.user_ids.to_pylist()]).encode())
    tensors = [data.users, data.new]
    tensors += [part for rows in (data.histories, data.clicks) for part in (rows.indptr, rows.items)]
    for values in tensors:
        digest.update(f"{values.dtype} {list(values.shape)}".encode())
        digest.update(values.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def held_out_users(
    log: Log,
    title: str,
    ks: Sequence[int] = (20, 50),
    split_seed: int = 1230,
    users: float = 1.0,
    build_config: BuildConfig | None = None,
    graphs: Path | None = None,
) -> Bench:
    """MIC's protocol (DECISIONS 1): train on some users, choose on others, test on third ones. Lists without the items
    of the history are the headline, and what is chosen is chosen for them; lists that may repeat it are judged beside.

    Args:
        log: all events.
        title: of the data.
        ks: lengths of the lists.
        split_seed: of the split into users.
        users: the share of the training users that is kept, drawn with the split's seed.
        build_config: how the graph is built.
        graphs: a folder in which graphs are kept for the next time.
    """
    parts = split(log, "user_holdout", seed=split_seed)
    train = some_users(parts.train, users, split_seed)
    graph = _graph(train, build_config or BuildConfig(), users, graphs)
    valid, test = _prepared(parts, graph)
    notes = (f"split into users with seed {split_seed}; {len(train):,} training events", *_counts(test))
    notes += (f"{users:.0%} of the training users kept",) if users < 1 else ()
    return Bench(title, graph, valid, test, (graph, valid), tuple(ks), notes=notes, seen_too=True)


def after_a_cut(
    log: Log,
    title: str,
    cut: str | date,
    test: str | timedelta,
    earlier: str | date,
    ks: Sequence[int] = (50, 100, 200, 500),
    users: float = 1.0,
    filter_seen: bool = True,
    monitor: str = "recall@500",
    build_config: BuildConfig | None = None,
    graphs: Path | None = None,
) -> Bench:
    """MicRec's protocol (DECISIONS 2): train on what lies before a cut, test on the window after it.

    Settings and numbers of epochs are chosen one window earlier: trained before ``earlier``, judged on what lies
    between it and the cut. Then each model is trained on everything before the cut, with nothing left to choose.

    Args:
        log: all events.
        title: of the data.
        cut: where training ends.
        test: length of the test window.
        earlier: where training ends while settings are chosen.
        ks: lengths of the lists.
        users: the share of the training users that is kept.
        filter_seen: whether lists leave out the history.
        monitor: the validation metric that chooses.
        build_config: how the graphs are built.
        graphs: a folder in which graphs are kept for the next time.
    """
    settings = build_config or BuildConfig()
    final = split(log, "temporal", cut=cut, test=test, valid=None)
    before = split(_until(log, final), "temporal", cut=earlier, test="3650d", valid=None)
    graph, early = (_graph(some_users(part.train, users, 0), settings, users, graphs) for part in (final, before))
    data = prepare(final.test, graph)
    notes = (f"trained before {cut}, tested on {test} after it; settings chosen on {earlier} to {cut}", *_counts(data))
    notes += (f"{users:.0%} of the training users kept",) if users < 1 else ()
    develop = (early, prepare(before.test, early))
    return Bench(title, graph, None, data, develop, tuple(ks), filter_seen, monitor, notes)


def some_users(log: Log, share: float, seed: int) -> Log:
    """The events of a share of the users, drawn with a seed; a larger share keeps all that a smaller one does.

    Raises:
        ConfigError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ConfigError("users", "a share above 0, at most 1", share, "pass for example 0.1")
    if share == 1:
        return log
    ids = log.sql("SELECT DISTINCT user_id FROM {events} ORDER BY user_id").column(0).combine_chunks()
    order = list(range(len(ids)))
    random.Random(seed).shuffle(order)
    kept = ids.take(pa.array(sorted(order[: max(round(share * len(ids)), 1)])))
    log.con.register("kept_users", pa.table({"user_id": kept}))
    try:
        return log.filter("user_id IN (SELECT user_id FROM kept_users)", log.manifest)
    finally:
        log.con.unregister("kept_users")


def _graph(log: Log, settings: BuildConfig, users: float, graphs: Path | None) -> RecGraph:
    """The graph of a training log: read where it was kept, for semantic neighbours take a while."""
    if graphs is None:
        return build(log, settings)
    what = json.dumps([GRAPHS, log.manifest, contents(log), asdict(settings), users], sort_keys=True, default=str)
    path = graphs / hashlib.sha256(what.encode()).hexdigest()[:16]
    return RecGraph.load(path) if artifact.exists(path) else build(log, settings, path)


def contents(log: Log) -> list[str]:
    """What is in the tables of a log, whatever the order of their rows: the columns of events (sessions too, which a
    split's hash leaves out), items and users, how many rows there are, and the sum of their hashes."""
    found = []
    for table in ("events", *(name for name in ("items", "users") if getattr(log, name) is not None)):
        columns = log.sql(f"SELECT * FROM {{{table}}} LIMIT 0").schema
        total = log.scalar(f"SELECT CAST(sum(CAST(hash(one) AS HUGEINT)) AS VARCHAR) FROM {{{table}}} AS one")
        count = log.scalar(f"SELECT count(*) FROM {{{table}}}")
        found.append(f"{table} {[(field.name, str(field.type)) for field in columns]} {count} {total}")
    return found


def _until(log: Log, final: Split) -> Log:
    """The events before the cut of a temporal split."""
    return log.filter(f"timestamp < {int(final.manifest['params']['cut_us'])}")


def _prepared(parts: Split, graph: RecGraph) -> tuple[EvalData, EvalData]:
    if parts.valid is None:
        raise ConfigError("split", "a validation part", "none", "leave the fractions as they are")
    return prepare(parts.valid, graph), prepare(parts.test, graph)


def _counts(data: EvalData) -> tuple[str, ...]:
    return (", ".join(f"{value:,} {name}" for name, value in data.counts.items() if value),)
