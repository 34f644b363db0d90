"""A journey through the library under the running environment, and a second one over what another has saved.

    python journey.py make FOLDER         reads, builds, trains, evaluates, recommends and saves into FOLDER
    python journey.py load FOLDER ...     loads what is in each FOLDER, which stays as it is, and recommends again

The last line of either is JSON: what came of each folder, or the reason why nothing did.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import micgraph as mg

MODELS = ("gru4rec+mic", "ican+micrec")
USERS, K = ["u1", "u2", "u3", "u40"], 8
TINY = {"sampling": {"batch_size": 64}, "training": {"epochs": 1}, "mining": {"start": 1}}
LONGER = {**TINY, "training": {"epochs": 2}}


class Stopped(Exception):
    """Raised where a process would be killed."""


def make(folder: Path) -> dict[str, Any]:
    """The whole journey; files, graph, runs and recommenders stay in ``folder``."""
    _write_log(folder)
    log = mg.read_log(folder / "clicks.csv", items=folder / "items.parquet")
    split = mg.split(log, "temporal", test="2d")
    graph = mg.build(split.train, out=folder / "graph")
    lists = {}
    for model in MODELS:
        run = mg.train(graph, model, config=TINY, out=folder / model, device="cpu", progress=False)
        assert "recall@20" in str(mg.evaluate(run, split.test, baselines=["popularity"]))
        rec = mg.Recommender(run)
        lists[model] = _lists(rec)
        rec.save(folder / f"{model}-serving")
    _interrupt(graph, folder / "interrupted")
    return {"lists": lists, "graph": graph.fingerprint(), "losses": _resume(graph, folder)}


def load(folder: Path) -> dict[str, Any]:
    """Recommendations by what ``make`` has saved, under whatever environment it did."""
    graph = mg.RecGraph.load(folder / "graph")
    graph.validate()
    lists, served = {}, {}
    for model in MODELS:
        lists[model] = _lists(mg.Recommender(mg.load_run(folder / model)))
        served[model] = _lists(mg.Recommender.load(folder / f"{model}-serving"))
    return {"lists": lists, "served": served, "graph": graph.fingerprint(), "losses": _resume(graph, folder)}


def _write_log(folder: Path) -> None:
    """40 users in sessions over 10 days, without pandas or numpy, so that it is the same everywhere."""
    random_numbers = random.Random(7)
    with (folder / "clicks.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for user in range(41):
            for day in range(1, 11):
                start, hour = random_numbers.randrange(30), random_numbers.randrange(23)
                for step in range(random_numbers.randint(2, 4)):
                    minute = f"2024-03-{day:02} {hour:02}:{step * 9 + random_numbers.randrange(9):02}:00"
                    rows.writerow([f"u{user}", f"i{(start + step * 3) % 30}", minute])
    number = range(30)
    items = {
        "item_id": [f"i{n}" for n in number],
        "title": [f"{'red' if n % 2 else 'blue'} thing of shelf {n % 7}" for n in number],
        "category": ["abc"[n % 3] for n in number],
        "tags": [["a", "b"][: n % 2 + 1] for n in number],
        "price": [n * 0.5 for n in number],
    }
    pq.write_table(pa.table(items), folder / "items.parquet")


def _lists(rec: mg.Recommender) -> dict[str, list[Any]]:
    """The same lists asked for as pandas, polars and Arrow, as columns."""
    import pandas as pd
    import polars as pl

    frames = [rec.recommend(users, k=K) for users in (pd.Series(USERS), pl.Series(USERS), pa.array(USERS))]
    columns = [frames[0].to_dict("list"), frames[1].to_dict(as_series=False), frames[2].to_pydict()]
    names = ("user_id", "item_id", "score", "channels")
    kinds = [{name: [_plain(value) for value in table[name]] for name in names} for table in columns]
    assert kinds[0] == kinds[1] == kinds[2], "pandas, polars and Arrow differ"
    return kinds[0]


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else round(float(value), 6)


def _interrupt(graph: mg.RecGraph, out: Path) -> None:
    """A run of two epochs that ends after the first, with its checkpoint."""

    def stop(row: dict[str, Any]) -> None:
        raise Stopped

    try:
        mg.train(graph, MODELS[0], config=LONGER, out=out, device="cpu", progress=False, on_epoch=stop)
    except Stopped:
        return
    raise AssertionError("the run was not interrupted")


def _resume(graph: mg.RecGraph, folder: Path) -> list[float]:
    """The loss of each epoch of the interrupted run, gone on with in a copy."""
    with tempfile.TemporaryDirectory() as copy:
        out = Path(shutil.copytree(folder / "interrupted", Path(copy) / "run"))
        run = mg.train(graph, MODELS[0], config=LONGER, out=out, device="cpu", progress=False)
        return [round(float(row["loss"]), 6) for row in run.metrics]


def _tried(verb: str, folder: str) -> dict[str, Any]:
    """What ``make`` or ``load`` gives; where it fails, why, after the traceback on stderr."""
    try:
        return {"make": make, "load": load}[verb](Path(folder))
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}


if __name__ == "__main__":
    print(json.dumps([_tried(sys.argv[1], folder) for folder in sys.argv[2:]]))
