"""The commands that ask a run, after those of runs: recommend, similar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from micgraph.cli.console import show, working
from micgraph.cli.options import FilterSeen, Length, RunPath
from micgraph.cli.runs import app

__all__ = ["app"]

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph


@app.command()
def recommend(
    run: RunPath,
    users: Annotated[str | None, typer.Option(help="Users of the graph: u1,u2.")] = None,
    histories: Annotated[str | None, typer.Option(help='Histories of anybody, oldest first: "i1 i2;i3".')] = None,
    k: Length = 20,
    channels: Annotated[str, typer.Option(help="Some of u2i,u2u,i2i.")] = "all",
    filter_seen: FilterSeen = True,
) -> None:
    """Recommend items, with the channels and the click or user that brought each."""
    from micgraph.cli import ids
    from micgraph.retrieval.recommender import Recommender
    from micgraph.run import load_run
    from micgraph.schema import UnknownIdError

    loaded = load_run(run)
    with working("indexing the model's vectors"):
        recommender = Recommender(loaded)
    people: dict[str, Any] = {}
    if users is not None:
        people["users"] = ids.typed(ids.listed(users), recommender.users, "--users")
    if histories is not None:
        people["histories"] = ids.histories(histories, recommender.items)
    names = channels if channels == "all" else ids.listed(channels)
    try:
        found = recommender.recommend(k=k, channels=names, filter_seen=filter_seen, **people)
    except UnknownIdError as error:
        remedy = 'pass what the person clicked as --histories "i1 i2" instead'
        raise UnknownIdError("--users", error.expected, error.got, remedy) from error
    _show_items(found, loaded.graph, "item_id")


@app.command()
def similar(
    run: RunPath,
    items: Annotated[str, typer.Option(help="Items of the graph: i1,i2.")],
    k: Length = 10,
) -> None:
    """Show the items whose own vectors are nearest."""
    from micgraph.cli import ids
    from micgraph.retrieval.recommender import Recommender
    from micgraph.run import load_run

    loaded = load_run(run)
    with working("indexing the model's vectors"):
        recommender = Recommender(loaded)
    found = recommender.similar_items(ids.typed(ids.listed(items), recommender.items, "--items"), k)
    _show_items(found, loaded.graph, "similar_id")


def _show_items(found: Any, graph: RecGraph, column: str) -> None:
    """Print a frame, with titles beside the items of ``column`` where the graph has them."""
    import pyarrow as pa

    from micgraph.schema import TITLE

    table = found if isinstance(found, pa.Table) else pa.Table.from_pandas(found, preserve_index=False)
    if graph.items is not None and graph.items_table is not None and TITLE in graph.items_table.column_names:
        titles = pa.array(graph.titles(graph.items.index(table[column])), pa.string())
        table = table.add_column(table.column_names.index(column) + 1, TITLE, titles)
    show(table)
