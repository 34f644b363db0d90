"""One input through the public functions, and what became of it."""

from __future__ import annotations

import gc
import io
import os
import shutil
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import typer

import micgraph
from micgraph.cli import app
from micgraph.schema import MicgraphError
from tests.fuzz import files, oracle, settings
from tests.fuzz.inputs import Input
from tests.fuzz.world import TINY, Broken, Outcome, World, clicks, refused, tree

LINES = 12  # of what a command says on stderr, the usage and its frame included
LARGEST = 256  # of a number in settings that an input is trained with


def judge(world: World, made: Input) -> Outcome:
    """Run one input; nothing is raised but what ends the process."""
    outcome = Outcome("FAILED", mutations=made.mutations)
    world.clean(made.place)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run = _config if made.family == "yaml" else _log
            run(world, made, outcome)
        except MicgraphError as error:  # outside of what may be refused
            outcome.kind, outcome.detail = "FAILED", f"late error\n{_trace(error)}"
        except BaseException as error:  # panics of Rust are no exceptions
            outcome.kind, outcome.detail = "FAILED", f"{type(error).__name__}\n{_trace(error)}"
    outcome.warned += sorted({f"{w.category.__name__}: {w.message}" for w in caught})
    _look_for_leftovers(world, outcome)
    return outcome


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-6_000:]


def _look_for_leftovers(world: World, outcome: Outcome) -> None:
    temporary = Path(os.environ["TMPDIR"])
    if list(temporary.iterdir()):
        gc.collect()
    left = [path.name for path in temporary.iterdir() if not path.name.startswith("torchinductor")]
    stray = [p.name for p in world.place.iterdir() if p.name.split("-")[0] not in ("graph", "neighbour.txt", "run")]
    hidden = [p.name for p in world.place.iterdir() if "building" in p.name]
    pwned = [str(p) for p in (Path("pwned"), world.inputs / "pwned") if p.exists()]
    if (left or stray or hidden or pwned) and outcome.kind != "FAILED":
        outcome.kind, outcome.detail = "FAILED", f"left behind: {left} {stray} {hidden} {pwned}"
    for path in temporary.iterdir():
        shutil.rmtree(path, ignore_errors=True)


def _log(world: World, made: Input, outcome: Outcome) -> None:
    given = files.write(made, world.inputs)
    if made.through == "cli" and all(isinstance(one, (str, Path)) for one in given.values()):
        _by_command(world, made, outcome, given)
        return
    log = refused(outcome, world, lambda: micgraph.read_log(given.pop("log"), **given, **made.arguments))
    if log is None:
        return
    _check_counts(made, log)
    repr(log)
    parts = None
    if made.split is not None:
        params = {name: value for name, value in made.split.items() if name != "kind"}
        parts = refused(outcome, world, lambda: micgraph.split(log, made.split.get("kind"), **params))
        if parts is None:
            return
        repr(parts)
    source = log if parts is None else parts.train
    graph = refused(outcome, world, lambda: micgraph.build(source, made.config or None, world.out))
    if graph is None:
        return
    _check_graph(graph, len(source), world.out)
    outcome.kind, outcome.built = "built, rows counted" if graph.refused else "built", True
    _steps(world, made, outcome, graph, source)


def _check_counts(made: Input, log: Any) -> None:
    """Rows that were written = events + rows refused, and both as a slow count has them."""
    counts = {name: n for name, n in log.refused.items() if not name.startswith(("items: ", "users: "))}
    rows = oracle.rows_written(made)
    if rows is not None and rows != len(log) + sum(counts.values()):
        raise Broken(f"{rows} rows were written, {len(log)} are events and refused are {counts}")
    known = oracle.expected(made)
    if known is not None and known != (len(log), counts):
        raise Broken(f"expected {known}, got {(len(log), counts)}")


def _check_graph(graph: micgraph.RecGraph, events: int, path: Path) -> None:
    """The graph is whole, has every event and is on disk what it is in memory."""
    graph.validate()
    str(graph.summary())
    if graph.relations["clicks"].n_edges != events:
        raise Broken(f"{events} events became {graph.relations['clicks'].n_edges} clicks")
    loaded = micgraph.RecGraph.load(path).validate()
    if loaded.fingerprint() != graph.fingerprint() or loaded.refused != graph.refused:
        raise Broken("the saved graph is another one than that in memory")


def _steps(world: World, made: Input, outcome: Outcome, graph: micgraph.RecGraph, log: Any) -> None:
    """What may follow a build: each is done, or refused by name."""
    if "inspect" in made.steps:
        str(micgraph.inspect(graph))
        str(micgraph.inspect(graph, user=graph.users.values[0].as_py()))
        str(micgraph.inspect(graph, item=graph.items.values[0].as_py()))
    if "append" in made.steps:
        clicks = graph.relations["clicks"].n_edges
        grown = refused(Outcome(""), world, lambda: micgraph.append(world.out, log))
        if grown is not None:
            if grown.validate().relations["clicks"].n_edges != clicks:
                raise Broken("the same log again has added clicks")
            if micgraph.RecGraph.load(world.out).fingerprint() != grown.fingerprint():
                raise Broken("the graph that was saved by append is another one than that in memory")
    if "train" in made.steps:
        _train(world, outcome, graph, TINY)


def _train(world: World, outcome: Outcome, graph: micgraph.RecGraph, config: Any) -> None:
    how = {"config": config, "out": world.place / "run", "device": "cpu", "progress": False}
    run = refused(Outcome(""), world, lambda: micgraph.train(graph, **how))
    if run is None:
        return
    outcome.trained = True
    user = graph.users.values[0].as_py()
    rows = refused(Outcome(""), world, lambda: micgraph.Recommender(run).recommend([user], k=1, filter_seen=False))
    if rows is not None and len(rows) != 1:
        raise Broken(f"asked for one item, got {len(rows)}")


def _by_command(world: World, made: Input, outcome: Outcome, given: dict[str, Any]) -> None:
    import yaml

    plan = {"log": made.arguments, "build": made.config} | ({} if made.split is None else {"split": made.split})
    config = world.inputs / "config.yaml"
    try:
        config.write_text(yaml.safe_dump(plan, allow_unicode=True), encoding="utf-8")
    except (yaml.YAMLError, UnicodeError):
        config.write_text("", encoding="utf-8")
    source = str(given.pop("log"))
    options = [text for name, path in given.items() for text in (f"--{name}", str(path))]
    command(world, outcome, ["build", "--config", str(config), "--out", str(world.out), *options, "--", source])


def command(world: World, outcome: Outcome, arguments: list[str]) -> bool:
    """Run a command; whether it went well."""
    before, said, told = tree(world.place), io.StringIO(), io.StringIO()
    code: Any = 0
    try:
        with redirect_stdout(said), redirect_stderr(told):
            _commands().main(arguments, prog_name="micgraph")
    except SystemExit as end:
        code = end.code
    if code in (0, None):
        micgraph.RecGraph.load(world.out).validate()
        outcome.kind, outcome.built = "built by the command", True
        return True
    lines = [line for line in told.getvalue().splitlines() if line.strip()]
    if code not in (1, 2) or "Traceback" in told.getvalue() or not 0 < len(lines) <= LINES:
        raise Broken(f"exit code {code}: {told.getvalue()[-2_000:]}")
    if tree(world.place) != before:
        raise Broken(f"the command has changed something: {told.getvalue()[-2_000:]}")
    outcome.kind, outcome.detail = "error of the command", lines[-1]
    return False


@cache
def _commands() -> Any:
    return typer.main.get_command(app)


def _config(world: World, made: Input, outcome: Outcome) -> None:
    from micgraph import presets

    path, text = world.inputs / "config.yaml", settings.rendered(made)
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
    resolved = refused(outcome, world, lambda: presets.resolve(None, path, 8))
    if resolved is not None:
        outcome.kind = "accepted"
    source = world.inputs / "clicks.parquet"
    pq.write_table(files.arrow(clicks(), {}), source)
    told = Outcome("")
    if command(world, told, ["build", "--config", str(path), "--out", str(world.out), "--", str(source)]):
        outcome.built = True
        if resolved is None:
            return
        if "train" in made.steps and largest(resolved) <= LARGEST:
            _train(world, outcome, micgraph.RecGraph.load(world.out), path)


def largest(values: Any) -> float:
    """The largest number anywhere in settings, but for those that cost nothing."""
    from dataclasses import asdict, is_dataclass

    if is_dataclass(values) and not isinstance(values, type):
        values = asdict(values)
    if isinstance(values, dict):
        free = ("seed", "batch_size", "sparse_rows", "max_anchors", "bank", "patience", "checkpoint_every")
        return max((largest(v) for name, v in values.items() if name not in free), default=0)
    if isinstance(values, (list, tuple)):
        return max(map(largest, values), default=0)
    return abs(values) if isinstance(values, (int, float)) and not isinstance(values, bool) else 0
