"""The commands that ask a run or what it serves, after those of runs: recommend, similar, index, refresh."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from micgraph.cli.console import show, working
from micgraph.cli.graphs import Items, Source, Users
from micgraph.cli.options import Config, FilterSeen, Length, Override, RunPath
from micgraph.cli.runs import app

__all__ = ["app"]

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.retrieval.recommender import Recommender

Served = Annotated[
    Path, typer.Argument(metavar="RUN", help="Directory that train wrote, or one that index or Recommender.save wrote.")
]


@app.command()
def recommend(
    run: Served,
    users: Annotated[str | None, typer.Option(help="Users of the graph: u1,u2.")] = None,
    histories: Annotated[str | None, typer.Option(help='Histories of anybody, oldest first: "i1 i2;i3".')] = None,
    k: Length = 20,
    channels: Annotated[str, typer.Option(help="Some of u2i,u2u,i2i.")] = "all",
    filter_seen: FilterSeen = True,
) -> None:
    """Recommend items, with the channels and the click or user that brought each."""
    from micgraph.cli import ids
    from micgraph.schema import UnknownIdError

    recommender = _opened(run)
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
    _show_items(found, recommender.graph, "item_id")


@app.command()
def similar(
    run: Served,
    items: Annotated[str, typer.Option(help="Items of the graph: i1,i2.")],
    k: Length = 10,
) -> None:
    """Show the items whose own vectors are nearest."""
    from micgraph.cli import ids

    recommender = _opened(run)
    found = recommender.similar_items(ids.typed(ids.listed(items), recommender.items, "--items"), k)
    _show_items(found, recommender.graph, "similar_id")


@app.command()
def index(
    run: Served,
    kind: Annotated[
        str, typer.Option(help="torch, faiss_flat, faiss_ivf, faiss_hnsw, faiss_int8, faiss_pq, faiss_gpu.")
    ],
    tune_recall: Annotated[float, typer.Option(help="The share of the nearest that a search must find.")] = 0.95,
    k: Annotated[int | None, typer.Option("--k", help="Items that a search asks for; by default fusion.k1.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="How it is built, such as hnsw_m=16.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where it is saved; by default RUN/serving, or where it was loaded from.")
    ] = None,
) -> None:
    """Index items and users by another kind, its searches set by measured recall, and save what serves them."""
    from micgraph import artifact, versions
    from micgraph.config import dotted
    from micgraph.retrieval.indexing import tune_index

    target = out or (run if artifact.exists(versions.place(run)) else run / versions.SERVING)
    recommender = _opened(run)
    with working("measuring recall"):
        tuned = tune_index(recommender, kind, tune_recall, k, dotted(sets or []))  # type: ignore[arg-type]
    recommender.save(target)
    show(tuned.table())
    typer.echo(f"serving: {target}")


@app.command()
def refresh(
    run: RunPath,
    log: Source = None,
    items: Items = None,
    users: Users = None,
    epochs: Annotated[int | None, typer.Option(help="How long it trains; by default one epoch.")] = None,
    config: Config = None,
    override: Override = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
) -> None:
    """Take a later log into a run: append, train on, vectors, neighbours, indexes, and one swap of RUN and RUN/serving.

    Of the config the section "log" counts, and settings of the run that may differ.
    """
    from micgraph import refreshing
    from micgraph.cli import experiment
    from micgraph.config import merge

    given = {name: value for name, value in (("source", log), ("items", items), ("users", users)) if value}
    settings = merge(experiment.settings_of(config, override or ()), {"log": given})
    plan = experiment.experiment(settings)
    if epochs is not None:
        settings = merge(settings, {"training": {"epochs": epochs}})
    with working("reading the log"):
        events = experiment.read(plan.log, plan.build)
    found = refreshing.refresh(run, events, settings, device, progress=sys.stderr.isatty())
    show(found.table())
    typer.echo(f"new: {', '.join(f'{count:,} {name}' for name, count in found.new.items())}")
    for reason, count in found.refused.items():
        typer.echo(f"{reason}: {count:,}")
    if not found.swapped:
        typer.echo(f"nothing new in the log: {run} stays as it is")
        return
    typer.echo(f"{found.run.origin}\nrun: {run}, version {found.run.directory.name}\nserving: {found.serving}")


def _opened(path: Path) -> Recommender:
    """The recommender of a run's directory, or the one that was saved."""
    from micgraph import artifact, versions
    from micgraph.retrieval.recommender import Recommender
    from micgraph.run import load_run

    if artifact.exists(versions.place(path)) or path.name == versions.SERVING:
        return Recommender.load(path)
    loaded = load_run(path)
    with working("indexing the model's vectors"):
        return Recommender(loaded)


def _show_items(found: Any, graph: RecGraph, column: str) -> None:
    """Print a frame, with titles beside the items of ``column`` where the graph has them."""
    import pyarrow as pa

    from micgraph.schema import TITLE

    table = found if isinstance(found, pa.Table) else pa.Table.from_pandas(found, preserve_index=False)
    if graph.items is not None and graph.items_table is not None and TITLE in graph.items_table.column_names:
        titles = pa.array(graph.titles(graph.items.index(table[column])), pa.string())
        table = table.add_column(table.column_names.index(column) + 1, TITLE, titles)
    show(table)
