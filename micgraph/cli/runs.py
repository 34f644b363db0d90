"""The commands that train and judge, after those of graphs: train, tune, evaluate."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from micgraph.cli.console import INTERRUPTED, working
from micgraph.cli.graphs import app
from micgraph.cli.options import Config, FilterSeen, GraphPath, Override, RunPath, beside

__all__ = ["app"]

if TYPE_CHECKING:
    from micgraph.graph.recgraph import RecGraph
    from micgraph.graph.split import Holdout
    from micgraph.tuning import Trial

Model = Annotated[
    str | None, typer.Option(help="Encoder and tasks, such as gru4rec+mic; else the config's, else gru4rec.")
]
NewRun = Annotated[
    Path | None, typer.Option("--out", metavar="RUN", help="Directory for the run; by default a new one, runs/NAME-N.")
]
WarmStart = Annotated[
    Path | None,
    typer.Option("--warm-start", metavar="RUN", help="Earlier run whose settings and weights this one begins with."),
]


@app.command()
def train(
    graph: GraphPath,
    model: Model = None,
    config: Config = None,
    override: Override = None,
    out: NewRun = None,
    valid: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Held-out part that selects the epoch; by default GRAPH-valid.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    filter_seen: FilterSeen = True,
    warm_start: WarmStart = None,
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


def _validation(path: Path, graph: RecGraph, given: Path | None) -> Holdout | None:
    """The validation part that was named, or the one of the graph's own split that lies beside the graph."""
    from micgraph import artifact
    from micgraph.graph.split import Holdout

    if given is not None:
        return Holdout.load(given)
    found_at = beside(path, "valid")
    if graph.manifest is None or not artifact.exists(found_at):
        return None
    found = Holdout.load(found_at)
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
