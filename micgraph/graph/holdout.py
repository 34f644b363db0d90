"""A Holdout on disk: histories and targets as Parquet with their ids as given, how the split was made as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from micgraph import artifact
from micgraph.graph import ingest
from micgraph.graph.events import Log
from micgraph.graph.split import Holdout

KIND, FORMAT = "holdout", 1
PARTS = ("histories", "targets")


def save(holdout: Holdout, path: str | Path) -> None:
    """Publish ``holdout`` at ``path``; see :meth:`Holdout.save`."""

    def write(folder: Path) -> None:
        for name in PARTS:
            log: Log = getattr(holdout, name)
            events = f"SELECT {', '.join(log.columns)} FROM {log.table} ORDER BY user_id, timestamp, ordinal, item_id"
            file = ingest.literal(str(folder.absolute() / f"{name}.parquet"))
            log.con.execute(f"COPY ({events}) TO {file} (FORMAT parquet)")
        (folder / "holdout.json").write_text(json.dumps(holdout.manifest, indent=1), encoding="utf-8")

    artifact.publish(path, KIND, FORMAT, write)


def load(path: str | Path) -> Holdout:
    """Read what :func:`save` wrote."""
    return artifact.opened(path, KIND, FORMAT, _load)


def _load(folder: Path) -> Holdout:
    manifest = json.loads((folder / "holdout.json").read_text(encoding="utf-8"))
    con = ingest.connect()
    logs = []
    for name in PARTS:
        table = ingest.fresh(name)
        con.execute(f"CREATE TABLE {table} AS SELECT * FROM {ingest.parquet_file(folder / f'{name}.parquet')}")
        logs.append(Log(con, table, manifest=manifest))
    return Holdout(logs[0], logs[1], manifest)
