"""Bad logs and feature tables."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

import micgraph
from tests.bad_input.table import Attempt, Counted, World, case


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


@case("a CSV file that is not UTF-8")
def _(world: World) -> Iterator[Attempt]:
    text = "user_id,item_id,timestamp,title\n1,a,1600000000,CAF\u00c9\n"
    yield partial(world.build, world.file("latin.csv", text.encode("latin-1")))
    yield partial(world.build, world.file("utf16.csv", text.encode("utf-16")))


@case("amounts as text, such as '1,000'")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, world.clicks.assign(weight="1,000"))


@case("the log itself as the table of items")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, world.clicks, items=world.clicks)


@case("columns of items that belong to the click")
def _(world: World) -> Iterator[Attempt]:
    for name in ("timestamp", "user_id", "weight"):
        yield partial(world.build, world.clicks, item_columns=[name])


@case("files of an unknown format")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, world.file("clicks.xlsx", b"PK"))
    yield partial(world.build, [world.file("a.csv", b"user_id\n"), world.file("b.parquet", b"PAR1")])


@case("a `columns=` that is no mapping of names")
def _(world: World) -> Iterator[Attempt]:
    for columns in ("user_id", ["user_id"], 5, "", {"user_id": None}, {5: "user_id"}, {"user_id": ["a"]}):
        yield partial(world.build, columns=columns)


@case("a CSV file with a line that has too few or too many fields")
def _(world: World) -> Iterator[Attempt]:
    lines = world.clicks.to_csv(index=False).splitlines()
    for wrong in ("u1,i1", "# a remark", "u1,i1,2024-03-01,x,y"):
        for at in (1, 30, len(lines)):
            yield partial(
                world.build, world.file("uneven.csv", "\n".join([*lines[:at], wrong, *lines[at:-1]]).encode())
            )


@case("a CSV file with lines above its header")
def _(world: World) -> Iterator[Attempt]:
    text = world.clicks.to_csv(index=False).encode()
    shorter = world.clicks[["user_id", "item_id"]].head(9).to_csv(index=False).encode()
    for above in (b"sep=,\n", b"clicks, exported\n", b"clicks\n\n", shorter):
        yield partial(world.build, world.file("title.csv", above + text))


@case("a CSV file that is not UTF-8")
def _(world: World) -> Iterator[Attempt]:
    text = world.clicks.assign(user_id="é").to_csv(index=False)
    for encoding in ("latin-1", "utf-16"):
        yield partial(world.build, world.file("other.csv", text.encode(encoding)))


@case("a CSV file in an encoding that is not read, such as Windows-1252")
def _(world: World) -> Iterator[Attempt]:
    text = "\ufeff" + world.clicks.assign(user_id="é").to_csv(index=False)
    for encoding in ("utf-32", "utf-16-be"):
        yield partial(world.build, world.file("other.csv", text.encode(encoding)))
    euro = world.clicks.assign(user_id="€").to_csv(index=False).encode("cp1252")
    yield partial(world.build, world.file("euro.csv", euro))


@case("a CSV file with line ends of several kinds")
def _(world: World) -> Iterator[Attempt]:
    text = world.clicks.to_csv(index=False)
    for end in ("\r\n", "\r"):
        yield partial(world.build, world.file("mixed.csv", text.replace("\n", end, 9).encode()))


@case("a list of paths with something else in it")
def _(world: World) -> Iterator[Attempt]:
    for source in ([None], [1, 2], [world.file("clicks.csv", b"user_id\n"), b"clicks.csv"]):
        yield partial(world.build, source)


@case("embeddings that are no lists")
def _(world: World) -> Iterator[Attempt]:
    for value in ("[1.0, 2.0]", 1.0, True):
        yield partial(world.build, items=world.items.assign(embedding=value))


@case("features that cannot be read as what their column is")
def _(world: World) -> Iterator[Attempt]:
    yield partial(world.build, items=world.items.assign(provider=b"\xff\xfe"))
    yield partial(world.build, items=world.items.assign(provider=[[["a"]]] * len(world.items)))


def _first(world: World, rows: int) -> pd.Series:
    return pd.Series([place < rows for place in range(len(world.clicks))], index=world.clicks.index)


def _recommend(world: World, clicks: pd.DataFrame, user: str, channels: set[str]) -> pd.DataFrame:
    run = world.train(world.build(clicks), out=world.folder / "lonely")
    rows = micgraph.Recommender(run).recommend([user], k=1, filter_seen=False)
    assert len(rows) == 1
    assert set(rows["channels"][0].split(",")) <= channels
    return rows
