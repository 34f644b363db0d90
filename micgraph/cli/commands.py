"""The commands. What takes time to import is imported inside them, so that ``--help`` answers at once."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from micgraph.cli.console import INTERRUPTED, Commands, show, working

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.graph.split import Holdout
    from micgraph.tuning import Trial

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="From behaviour logs to a graph, two towers trained on it, and recalls with their reasons.",
)

Config = Annotated[Path | None, typer.Option("--config", help="YAML file, such as those under configs/.")]
Override = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as training.epochs=3.")
]
GraphPath = Annotated[Path, typer.Argument(metavar="GRAPH", help="Directory that build wrote.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Directory that train wrote.")]
Length = Annotated[int, typer.Option("--k", help="Length of a list.")]
FilterSeen = Annotated[bool, typer.Option("--filter-seen/--keep-seen", help="Leave out what a user has clicked.")]
HELD_OUT = ("valid", "test")


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", metavar="GRAPH", help="Directory for the graph.")],
    log: Annotated[str | None, typer.Argument(metavar="LOG", help="Parquet or CSV files; else log.source.")] = None,
    items: Annotated[str | None, typer.Option(help="Feature table of items; else log.items.")] = None,
    users: Annotated[str | None, typer.Option(help="Feature table of users; else log.users.")] = None,
    config: Config = None,
    override: Override = None,
) -> None:
    """Read a log, split it where a section "split" says so, and build the graph of its training part.

    The held-out parts are written beside the graph, as GRAPH-valid and GRAPH-test.
    """
    from micgraph.cli import experiment
    from micgraph.config import merge
    from micgraph.graph import builder

    given = {name: value for name, value in (("source", log), ("items", items), ("users", users)) if value}
    plan = experiment.experiment(merge(experiment.settings_of(config, override or ()), {"log": given}))
    with working("reading the log"):
        events = experiment.read(plan.log, plan.build.memory_limit)
    parts = None
    if plan.split is not None:
        with working("splitting the log"):
            parts = experiment.divide(events, plan.split)
        typer.echo(f"{parts!r}\n")
    with working("building the graph"):
        graph = builder.build(events if parts is None else parts.train, plan.build, out)
    typer.echo(f"{graph.summary()}\n\ngraph: {out}")
    for name in HELD_OUT:
        held_out: Holdout | None = getattr(parts, name, None)
        if held_out is not None:
            held_out.save(_beside(out, name))
            typer.echo(f"{name}: {_beside(out, name)}")


@app.command()
def inspect(
    graph: GraphPath,
    user: Annotated[str | None, typer.Option(metavar="ID", help="A user to look at instead.")] = None,
    item: Annotated[str | None, typer.Option(metavar="ID", help="An item to look at instead.")] = None,
    holdout: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Held-out part, such as GRAPH-test: what does the graph know of it?"),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write all there is, with figures, as one page.")
    ] = None,
) -> None:
    """Show what is in a graph and what of it is held out: schema, degrees, sessions, overlaps; or one user or item."""
    from micgraph import inspection
    from micgraph.cli import ids
    from micgraph.graph.recgraph import RecGraph

    loaded = RecGraph.load(graph)
    given = {
        name: ids.typed([text], known, f"--{name}")[0].as_py()
        for name, text, known in (("user", user, loaded.users), ("item", item, loaded.items))
        if text is not None and known is not None
    }
    found = inspection.inspect(loaded, holdout=holdout, **given)
    typer.echo(str(found))
    if html is not None:
        typer.echo(f"\npage: {found.save_page(html)}")


@app.command()
def train(
    graph: GraphPath,
    model: Annotated[
        str | None, typer.Option(help="Encoder and tasks, such as gru4rec+mic; else the config's, else gru4rec.")
    ] = None,
    config: Config = None,
    override: Override = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="RUN", help="Directory for the run; by default a new one, runs/NAME-N."),
    ] = None,
    valid: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Held-out part that selects the epoch; by default GRAPH-valid.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    filter_seen: FilterSeen = True,
    warm_start: Annotated[
        Path | None,
        typer.Option(
            "--warm-start", metavar="RUN", help="Earlier run whose settings and weights this one begins with."
        ),
    ] = None,
) -> None:
    """Train two towers on a graph. A run that was interrupted goes on with the same command and its --out."""
    from micgraph import pipeline, presets, warm
    from micgraph.cli import experiment
    from micgraph.graph.recgraph import RecGraph

    settings = experiment.settings_of(config, override or ())
    loaded = RecGraph.load(graph)
    earlier = None if warm_start is None else warm.earlier_run(warm_start)
    settings = settings if earlier is None else warm.settings(earlier, model, settings)
    name = presets.resolve(model, settings, loaded.n_items).name
    validation = _validation(graph, loaded, valid)
    directory = _new_run(name) if out is None else out
    try:
        shown = _tell_epoch, sys.stderr.isatty()
        run = pipeline.train(
            loaded, model, validation, settings, directory, device, filter_seen, *shown, warm_start=earlier
        )
    except KeyboardInterrupt as stop:
        typer.echo(_stopped(directory, out is not None), err=True)
        raise typer.Exit(INTERRUPTED) from stop
    finally:
        if out is None:
            with suppress(OSError):  # where nothing was written into the directory that was taken for the run
                directory.rmdir()
    if run.origin is not None:
        typer.echo(str(run.origin))
    typer.echo(f"run {run.name}: {directory}")


@app.command()
def tune(
    graph: GraphPath,
    model: Annotated[str | None, typer.Option(help="Encoder and tasks, as for train.")] = None,
    config: Config = None,
    override: Override = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Directory for the search.")] = Path("tuned"),
    trials: Annotated[int, typer.Option(help="Runs in all; the first one is the defaults.")] = 8,
    valid: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Held-out part that scores trials; by default GRAPH-valid.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    filter_seen: FilterSeen = True,
    seed: Annotated[int, typer.Option(help="Of the search; of the runs it is training.seed.")] = 0,
) -> None:
    """Search for the settings that a section "search" names, on validation data. An interrupted search goes on."""
    from micgraph import tuning
    from micgraph.cli import experiment
    from micgraph.graph.recgraph import RecGraph

    settings = experiment.settings_of(config, override or ())
    loaded = RecGraph.load(graph)
    validation, progress = _validation(graph, loaded, valid), sys.stderr.isatty()
    found = tuning.tune(
        loaded, model, validation, None, trials, out, settings, device, filter_seen, seed, _tell_trial, progress
    )
    typer.echo(f"\n{found}\n\nbest settings: {out / tuning.BEST}")


@app.command()
def evaluate(
    run: RunPath,
    holdout: Annotated[Path, typer.Option(metavar="DIR", help="Held-out part, such as GRAPH-test.")],
    baselines: Annotated[str, typer.Option(help="Some of popularity,itemknn,ease.")] = "",
    k: Annotated[str, typer.Option("--k", help="Lengths at which lists are cut.")] = "20,50",
    filter_seen: FilterSeen = True,
    new_only: Annotated[bool, typer.Option("--new-only", help="Judge only clicks on items new to their user.")] = False,
    columns: Annotated[str, typer.Option(help="Metrics to show, such as recall@20,hit@50.")] = "",
) -> None:
    """Judge a run and reference rows on held-out clicks."""
    from micgraph import pipeline
    from micgraph.cli.ids import listed
    from micgraph.graph.split import Holdout
    from micgraph.run import load_run

    loaded, held_out, cuts = load_run(run), Holdout.load(holdout), _lengths(listed(k))
    with working("evaluating"):
        found = pipeline.evaluate(
            loaded, held_out, cuts, listed(baselines), filter_seen, new_only, listed(columns) or None
        )
    typer.echo(str(found))


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


def _beside(graph: Path, part: str) -> Path:
    return graph.with_name(f"{graph.name}-{part}")


def _validation(path: Path, graph: RecGraph, given: Path | None) -> Holdout | None:
    """The validation part that was named, or the one of the graph's own split that lies beside the graph."""
    from micgraph import artifact
    from micgraph.graph.split import Holdout

    if given is not None:
        return Holdout.load(given)
    beside = _beside(path, "valid")
    if graph.manifest is None or not artifact.exists(beside):
        return None
    found = Holdout.load(beside)
    return found if found.manifest["split"] == graph.manifest["split"] else None


def _new_run(name: str) -> Path:
    """The first free directory ``runs/NAME-N``, made at once so that no other command takes it."""
    number = 0
    while True:
        number += 1
        directory = Path("runs") / f"{name}-{number}"
        with suppress(FileExistsError):
            directory.mkdir(parents=True)
            return directory


def _stopped(directory: Path, named: bool) -> str:
    """What to do after Ctrl-C: a directory that micgraph chose must be named for the run to go on in it."""
    from micgraph import artifact
    from micgraph.training import LAST

    if not artifact.exists(directory / LAST):
        return "stopped before the first checkpoint; the same command begins anew"
    command = "the same command" if named else f"the same command with --out {directory}"
    return f"stopped; {command} goes on from the last checkpoint"


def _tell_epoch(row: dict[str, Any]) -> None:
    shown = [f"loss {row['loss']:.4f}"]
    shown += [f"{name.removeprefix('valid/')} {row[name]:.4f}" for name in row if name.startswith("valid/recall@")]
    typer.echo(f"epoch {row['epoch']}: {', '.join(shown)} ({row['seconds']:.1f} s)")


def _tell_trial(trial: Trial) -> None:
    score = "diverged" if trial.score is None else f"{trial.score:.4f} after epoch {trial.epoch}"
    typer.echo(f"trial {trial.number}: {score} ({trial.seconds:.1f} s) {trial.settings}")


def _lengths(texts: list[str]) -> list[int]:
    from micgraph.schema import InputError

    if not texts or not all(text.isdigit() and int(text) > 0 for text in texts):
        raise InputError("--k", "numbers above 0", repr(",".join(texts)), "write them as 20,50")
    return [int(text) for text in texts]


def _show_items(found: Any, graph: RecGraph, column: str) -> None:
    """Print a frame, with titles beside the items of ``column`` where the graph has them."""
    import pyarrow as pa

    from micgraph.schema import TITLE

    table = found if isinstance(found, pa.Table) else pa.Table.from_pandas(found, preserve_index=False)
    if graph.items is not None and graph.items_table is not None and TITLE in graph.items_table.column_names:
        titles = pa.array(graph.titles(graph.items.index(table[column])), pa.string())
        table = table.add_column(table.column_names.index(column) + 1, TITLE, titles)
    show(table)
