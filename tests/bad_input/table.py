"""The table of docs/bad-input.md, and what cases of its rows are written in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import micgraph

TABLE = Path(__file__).resolve().parents[2] / "docs" / "bad-input.md"
SMALL = {"model": {"dim": 8, "history": 8}, "training": {"epochs": 1}}


class Row(NamedTuple):
    answer: str
    place: str
    remedy: list[str]


def _rows() -> dict[str, Row]:
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {c[0]: Row(c[1].strip("`"), c[2].strip("`"), re.findall(r"`([^`]+)`", c[3])) for c in cells}


ROWS = _rows()


class Counted(NamedTuple):
    """A build that goes well, and how many rows it must report under the reason of the table."""

    build: Callable[[], micgraph.RecGraph]
    count: int


@dataclass
class World:
    """A good log, and a graph of it at ``out`` that nothing bad may change."""

    clicks: pd.DataFrame
    items: pd.DataFrame
    folder: Path
    served: micgraph.Recommender | None = None

    @property
    def out(self) -> Path:
        return self.folder / "graph"

    def build(self, clicks: Any = None, **read: Any) -> micgraph.RecGraph:
        log = micgraph.read_log(self.clicks if clicks is None else clicks, **read)
        return micgraph.build(log, out=self.out)

    def changed(self, rows: int, **values: Any) -> pd.DataFrame:
        """The clicks with other values in the first rows."""
        clicks = self.clicks.copy()
        for name, value in values.items():
            clicks[name] = clicks[name].astype(object)
            clicks.loc[clicks.index[:rows], name] = value
        return clicks

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def train(self, graph: micgraph.RecGraph, config: dict[str, Any] = SMALL, **more: Any) -> micgraph.Run:
        more = {"out": self.folder / "run", "device": "cpu", "progress": False, **more}
        return micgraph.train(graph, "gru4rec", config=config, **more)


Attempt = Callable[[], Any] | Counted
CASES: dict[str, Callable[[World], Iterator[Attempt]]] = {}


def case(name: str) -> Callable[[Callable[[World], Iterator[Attempt]]], None]:
    """Registers a function that yields what a user might try; each of its attempts must get the row's answer."""
    return partial(CASES.__setitem__, name)
