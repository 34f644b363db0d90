"""Every row of docs/bad-input.md, through the public API: a named error, a counted row, or a result that says so."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

import micgraph
from micgraph.evaluation import prepare
from micgraph.graph.semantic import NOT_SIMILAR
from micgraph.schema import MicgraphError

TABLE = Path(__file__).resolve().parents[1] / "docs" / "bad-input.md"
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


@case("a missing column")
def _(world: World) -> Iterator[Attempt]:
    for name in ("user_id", "item_id", "timestamp"):
        yield partial(world.build, world.clicks.drop(columns=name))
    yield partial(world.build, columns={"item_id": "article"})
    yield partial(world.build, positive_events=["click"])


@case("an entry of `columns=` with a misspelt name of ours")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, columns={"sesion_id": "user_id"})
    yield partial(world.build, columns={"session-id": "no such column"})


@case("an entry of `columns=` whose column no table has")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, items=world.items, columns={"title": "titel"})


@case("an entry of `columns=` the wrong way round")
def _(world: World) -> Iterator[Attempt]:
    clicks = world.clicks.rename(columns={"user_id": "Customer ID"})
    yield partial(world.build, clicks, columns={"Customer ID": "user_id"})


@case("an id column of the wrong type")
def _(world: World) -> Iterator[Attempt]:
    for name in ("user_id", "item_id"):
        yield partial(world.build, world.clicks.assign(**{name: 1.5}))
        yield partial(world.build, world.clicks.assign(**{name: [[1]] * len(world.clicks)}))
        yield partial(world.build, world.clicks.assign(**{name: world.clicks["timestamp"]}))


@case("a time column of the wrong type")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, world.clicks.assign(timestamp=True))
    yield partial(world.build, world.clicks.assign(timestamp=[[1]] * len(world.clicks)))


@case("a user id that is null")
def _(world: World) -> Iterator[Attempt]:
    yield Counted(partial(world.build, world.changed(5, user_id=None)), 5)


@case("an item id that is null")
def _(world: World) -> Iterator[Attempt]:
    yield Counted(partial(world.build, world.changed(4, item_id=None)), 4)


@case("a time that is null")
def _(world: World) -> Iterator[Attempt]:
    yield Counted(
        partial(world.build, world.clicks.assign(timestamp=world.clicks["timestamp"].mask(_first(world, 3)))), 3
    )


@case("a time that cannot be parsed")
def _(world: World) -> Iterator[Attempt]:
    text = world.clicks["timestamp"].astype(str).mask(_first(world, 6), "yesterday")
    yield Counted(partial(world.build, world.clicks.assign(timestamp=text)), 6)


@case("no time that can be parsed")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, world.clicks.assign(timestamp="yesterday"))


@case("times with the day or the month first")
def _(world: World) -> Iterator[Attempt]:
    for form in ("%d/%m/%Y %H:%M:%S", "%m/%d/%y %H:%M", "%d.%m.%Y"):
        clicks = world.clicks.assign(timestamp=world.clicks["timestamp"].dt.strftime(form))
        yield partial(world.build, clicks)
        yield partial(world.build, world.file("slashes.csv", clicks.to_csv(index=False).encode()))


@case("times that are not in `time_format=`")
def _(world: World) -> Iterator[Attempt]:
    text = world.clicks["timestamp"].dt.strftime("%d/%m/%Y %H:%M")
    yield partial(world.build, world.clicks.assign(timestamp=text), time_format="%Y-%m-%d")


@case("a `time_format=` that is no strptime format")
def _(world: World) -> Iterator[Attempt]:
    for form in ("%Q", "DD/MM/YYYY", 5):
        yield partial(world.build, time_format=form)


@case("times in milliseconds and seconds, mixed")
def _(world: World) -> Iterator[Attempt]:
    second = world.clicks["timestamp"].astype("datetime64[s, UTC]").astype("int64")
    for kind in ("int64", "float64", "str"):
        mixed = second.where(~_first(world, 3), second * 1000).astype(kind)
        yield partial(world.build, world.clicks.assign(timestamp=mixed))


@case("duplicate rows")
def _(world: World) -> Iterator[Attempt]:
    yield Counted(partial(world.build, pd.concat([world.clicks, world.clicks.head(7)])), 7)


@case("an event that is not positive")
def _(world: World) -> Iterator[Attempt]:
    events = world.clicks.assign(event="click")
    events.loc[events.index[:9], "event"] = "view"
    yield Counted(partial(world.build, events, positive_events=["click"]), 9)


@case("an empty log")
def _(world: World) -> Iterator[Attempt]:
    empty = world.clicks.head(0)
    empty.to_parquet(world.folder / "empty.parquet")
    yield partial(world.build, empty)
    yield partial(world.build, world.folder / "empty.parquet")
    yield partial(world.build, world.file("empty.csv", b"user_id,item_id,timestamp\n"))


@case("a log without a usable row")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, world.clicks.assign(user_id=None))
    yield partial(world.build, world.clicks.assign(event="view"), positive_events=["click"])
    yield partial(world.build, world.clicks.assign(weight=0.0))


@case("one user")
def _(world: World) -> Iterator[Attempt]:
    yield partial(_recommend, world, world.clicks[world.clicks["user_id"] == "u0"], "u0", {"u2i", "i2i"})


@case("one item")
def _(world: World) -> Iterator[Attempt]:
    yield partial(_recommend, world, world.clicks.assign(item_id="i0"), "u0", {"u2i", "u2u"})


@case("one click")
def _(world: World) -> Iterator[Attempt]:
    graph = micgraph.build(world.clicks.head(1))
    yield partial(world.train, graph)


@case("an item without features")
def _(world: World) -> Iterator[Attempt]:
    yield Counted(partial(world.build, items=world.items.iloc[2:]), 2)


@case("a feature table with unknown ids")
def _(world: World) -> Iterator[Attempt]:
    strangers = world.items.head(3).assign(item_id=["x1", "x2", "x3"])
    yield Counted(partial(world.build, items=pd.concat([world.items, strangers])), 3)


@case("a feature table that names an id twice")
def _(world: World) -> Iterator[Attempt]:
    yield Counted(partial(world.build, items=pd.concat([world.items, world.items.head(2).assign(year=1.0)])), 2)


@case("a feature table with ids of another type")
def _(world: World) -> Iterator[Attempt]:
    numbered = world.clicks.assign(item_id=world.clicks["item_id"].str[1:].astype(int))
    yield partial(world.build, numbered, items=world.items)


@case("tags of items that are no lists, nor text of lists")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, items=world.items.assign(tags="x;y"))


@case("an unreadable file")
def _(world: World) -> Iterator[Attempt]:
    world.clicks.to_parquet(world.folder / "whole.parquet")
    whole = (world.folder / "whole.parquet").read_bytes()
    yield partial(world.build, world.folder / "missing.parquet")
    yield partial(world.build, world.folder / "no" / "*.csv")
    yield partial(world.build, world.file("noise.parquet", b"noise" * 50))
    yield partial(world.build, world.file("cut.parquet", whole[: len(whole) // 2]))
    yield partial(world.build, world.file("noise.csv.gz", b"\x1f\x8bnoise"))


@case("files of an unknown format")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, world.file("clicks.xlsx", b"PK"))
    yield partial(world.build, [world.file("a.csv", b"user_id\n"), world.file("b.parquet", b"PAR1")])


@case("a graph directory with a flipped byte")
def _(world: World) -> Iterator[Attempt]:
    for number, file in enumerate(sorted(p.relative_to(world.out) for p in world.out.rglob("*") if p.is_file())):
        damaged = world.folder / f"damaged-{number}"
        shutil.copytree(world.out, damaged)
        content = bytearray((damaged / file).read_bytes())
        content[len(content) // 2] ^= 1
        (damaged / file).write_bytes(content)
        yield partial(micgraph.RecGraph.load, damaged)


@case("a graph directory of an older format version")
def _(world: World) -> Iterator[Attempt]:
    older = world.folder / "older"
    shutil.copytree(world.out, older)
    pointer = json.loads((older / "current").read_text())
    (older / "current").write_text(json.dumps({**pointer, "format": 0}))
    yield partial(micgraph.RecGraph.load, older)


@case("a directory that is no graph")
def _(world: World) -> Iterator[Attempt]:
    yield partial(micgraph.RecGraph.load, world.folder)
    yield partial(micgraph.RecGraph.load, world.folder / "missing")
    yield partial(micgraph.load_run, world.folder)


@case("an output directory that holds something else")
def _(world: World) -> Iterator[Attempt]:
    graph = micgraph.RecGraph.load(world.out)
    taken = world.folder / "taken"
    taken.mkdir()
    (taken / "thesis.tex").write_text("years of work")
    yield partial(graph.save, taken)
    yield partial(graph.save, taken / "thesis.tex")


@case("a run directory that holds something else")
def _(world: World) -> Iterator[Attempt]:
    graph = micgraph.RecGraph.load(world.out)
    world.file("metrics.jsonl", b"mine")
    for taken in (world.folder, world.out, world.folder / "metrics.jsonl", world.folder / "metrics.jsonl" / "run"):
        yield partial(world.train, graph, out=taken)
    run = world.train(graph, out=None)
    yield partial(run.save, world.folder)
    yield partial(run.save, world.folder / "metrics.jsonl")


@case("a whole split in place of the log of a graph")
def _(world: World) -> Iterator[Attempt]:
    whole = micgraph.split(micgraph.read_log(world.clicks), "leave_last_out")
    yield partial(micgraph.build, whole, out=world.out)


@case("a whole split in place of one part")
def _(world: World) -> Iterator[Attempt]:
    parts = micgraph.split(micgraph.read_log(world.clicks), "temporal", test="2d")
    graph = micgraph.build(parts.train)
    yield partial(world.train, graph, validation=parts)
    yield partial(micgraph.evaluate, world.train(graph, out=None), parts)  # type: ignore[arg-type]


@case("held-out data prepared with another graph")
def _(world: World) -> Iterator[Attempt]:
    parts = micgraph.split(micgraph.read_log(world.clicks), "temporal", test="2d")
    data = prepare(parts.test, micgraph.build(parts.train))
    fewer = micgraph.build(world.clicks.head(300))
    yield partial(world.train, fewer, validation=data)
    yield partial(micgraph.evaluate, world.train(fewer, out=None), data)


@case("a test set that overlaps the graph")
def _(world: World) -> Iterator[Attempt]:
    parts = micgraph.split(micgraph.read_log(world.clicks), "temporal", test="2d")
    assert parts.valid is not None
    everything = micgraph.RecGraph.load(world.out)
    yield partial(world.train, everything, validation=parts.valid, out=world.folder / "leaking")
    run = world.train(everything)
    yield partial(micgraph.evaluate, run, parts.test)
    yield partial(micgraph.evaluate, run, parts.valid, baselines=["popularity"])


@case("a split with an empty part")
def _(world: World) -> Iterator[Attempt]:
    log = micgraph.read_log(world.clicks)
    yield partial(micgraph.split, log, "temporal", test="60d")
    yield partial(micgraph.split, log, "temporal", cut="2030-01-01")


@case("a user that the graph does not know")
def _(world: World) -> Iterator[Attempt]:
    recommender = micgraph.Recommender(world.train(micgraph.RecGraph.load(world.out)))
    yield partial(recommender.recommend, ["u0", "nobody"])
    yield partial(recommender.recommend, [7])


@case("a model that contradicts its config")
def _(world: World) -> Iterator[Attempt]:
    graph = micgraph.RecGraph.load(world.out)
    yield partial(world.train, graph, {**SMALL, "tasks": {"mic": None}})
    yield partial(world.train, graph, {**SMALL, "model": {"encoder": "ican"}})


@case("a setting that does not exist")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.train, micgraph.RecGraph.load(world.out), {"training": {"epoch": 3}})


@case("a store of live histories where something else is")
def _(world: World) -> Iterator[Attempt]:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    yield partial(micgraph.LmdbStore, world.out)
    yield partial(micgraph.LmdbStore, world.file("store", b"mine"))


@case("a store that was closed")
def _(world: World) -> Iterator[Attempt]:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    with micgraph.LmdbStore(world.folder / "store") as store:
        pass
    yield partial(store.append, [b"i1"], [1], [1])
    yield partial(store.read, [b"i1"])


@case("a click at a time in nanoseconds, for a store")
def _(world: World) -> Iterator[Attempt]:
    pytest.importorskip("lmdb", reason="the serve extra is not installed")
    with micgraph.LmdbStore(world.folder / "store") as store:
        yield partial(store.append, [b"i1"], [1], [1_508_112_000_000_000_000])


def _first(world: World, rows: int) -> pd.Series:
    return pd.Series([place < rows for place in range(len(world.clicks))], index=world.clicks.index)


def _recommend(world: World, clicks: pd.DataFrame, user: str, channels: set[str]) -> pd.DataFrame:
    run = world.train(world.build(clicks), out=world.folder / "lonely")
    rows = micgraph.Recommender(run).recommend([user], k=1, filter_seen=False)
    assert len(rows) == 1
    assert set(rows["channels"][0].split(",")) <= channels
    return rows


@pytest.fixture(scope="session")
def good_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("good") / "graph"


@pytest.fixture
def world(tiny_log: Any, good_graph: Path, tmp_path: Path) -> World:
    made = World(tiny_log.clicks, tiny_log.items, tmp_path)
    if not good_graph.exists():
        micgraph.build(micgraph.read_log(made.clicks, items=made.items), out=good_graph)
    shutil.copytree(good_graph, made.out)
    return made


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_table_and_the_tests_name_the_same_rows() -> None:
    assert set(ROWS) == set(CASES)
    assert {row.answer for row in ROWS.values()} - {"counted", "works"} <= set(micgraph.__all__)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.answer not in ("counted", "works")])
def test_an_error_is_named_and_changes_nothing(name: str, world: World) -> None:
    row, attempts = ROWS[name], 0
    for attempt in CASES[name](world):
        before = _contents(world.folder)
        with pytest.raises(MicgraphError) as caught:
            attempt()
        error, attempts = caught.value, attempts + 1
        assert type(error).__name__ == row.answer, error
        if row.place != "its path":
            assert error.argument == row.place or error.argument.startswith(f"{row.place}.")
        else:
            assert str(world.folder) in str(error)
        assert str(error) == f"{error.argument}: expected {error.expected}, got {error.got}; {error.remedy}"
        assert all(str(part).strip() for part in (error.argument, error.expected, error.got, error.remedy))
        assert "\n" not in str(error)
        for words in row.remedy:
            assert words in error.remedy
        assert _contents(world.folder) == before
    assert attempts


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.answer == "counted"])
def test_rows_left_out_are_counted_and_reported(name: str, world: World) -> None:
    attempts = 0
    for attempt in CASES[name](world):
        assert isinstance(attempt, Counted)
        attempts += 1
        attempt.build()
        graph = micgraph.RecGraph.load(world.out).validate()
        # a row that is not there also leaves its item without what similar items are found by
        rows = {reason: count for reason, count in graph.refused.items() if NOT_SIMILAR not in reason}
        assert rows == {ROWS[name].place: attempt.count}
        assert ROWS[name].place in str(graph.summary())
    assert attempts


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.answer == "works"])
def test_what_is_too_small_still_works_and_says_so(name: str, world: World) -> None:
    results = [attempt() for attempt in CASES[name](world) if callable(attempt)]
    assert results
    assert all(rows[ROWS[name].place].all() for rows in results)
