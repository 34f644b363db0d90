"""One input through the public functions, and what became of it."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import shutil
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import typer

import micgraph
from micgraph.cli import app
from micgraph.schema import MicgraphError
from tests.fuzz import files, oracle, settings
from tests.fuzz.inputs import Input, Table, make

LONGEST = 2_600  # characters of a message that a person may still read
TINY = {"model": {"dim": 4, "history": 5}, "training": {"epochs": 1}}
LINES = 12  # of what a command says on stderr, the usage and its frame included
LARGEST = 256  # of a number in settings that an input is trained with


class Broken(Exception):
    """A promise that was not kept."""


@dataclass
class Outcome:
    """What became of an input.

    Attributes:
        kind: ``built``, ``built, rows counted``, ``accepted`` (a config), ``CLASS`` of a named error, or ``FAILED``.
        detail: of a named error its message; of a failure what was broken, and the traceback.
        warned: warnings of dependencies, and what they wrote on stderr.
        events: rows that became clicks.
        trained: whether a model was trained on it.
    """

    kind: str
    detail: str = ""
    warned: list[str] = field(default_factory=list)
    built: bool = False
    trained: bool = False
    mutations: list[str] = field(default_factory=list)


@dataclass
class World:
    """Folders of one worker: graphs that every input starts from, and a place for the input at hand."""

    folder: Path

    @property
    def template(self) -> Path:
        return self.folder / "template"

    @property
    def inputs(self) -> Path:
        return self.folder / "in"

    @property
    def place(self) -> Path:
        return self.folder / "place"

    @property
    def out(self) -> Path:
        return self.place / "graph"

    def prepare(self) -> None:
        """Build the graph that inputs find at ``out``."""
        import pyarrow as pa

        items = {"item_id": [f"i{n}" for n in range(8)], "title": [f"the {n}th of {n % 3}" for n in range(8)]}
        log = micgraph.read_log(files.arrow(clicks(), {}), items=pa.table(items))
        graph = micgraph.build(log, out=self.template)
        run = micgraph.train(graph, config=TINY, progress=False, device="cpu")  # compiles what others would wait for
        micgraph.Recommender(run).recommend([graph.users.values[0].as_py()], k=1)

    def clean(self, kind: str) -> None:
        """Empty folders, and at ``out`` what an input finds there."""
        for folder in (self.inputs, self.place):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        (self.place / "neighbour.txt").write_text("not to be touched")
        if kind == "graph":
            shutil.copytree(self.template, self.out)
        elif kind == "file":
            self.out.write_text("a file")
        elif kind == "folder":
            self.out.mkdir()
            (self.out / "letter.txt").write_text("dear")


def tree(folder: Path) -> dict[str, str]:
    """Every path below a folder, and the hash of what is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        whole = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest() if whole else "folder"
    return found


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


def refused(outcome: Outcome, world: World, call: Callable[[], Any]) -> Any:
    """The result of a call, or None where it raised a named error, which then is checked."""
    before = tree(world.place)
    try:
        return call()
    except MicgraphError as error:
        check_message(error)
        if (after := tree(world.place)) != before:
            changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
            raise Broken(f"changed after {error}: {changed}") from error
        outcome.kind, outcome.detail = type(error).__name__, str(error)
        return None


def check_message(error: MicgraphError) -> None:
    """Four parts, on one line that a person can read."""
    parts = (error.argument, error.expected, error.got, error.remedy)
    if str(error) != "{}: expected {}, got {}; {}".format(*parts) or not all(str(part).strip() for part in parts):
        raise Broken(f"a message without its four parts: {error}") from error
    if len(str(error)) > LONGEST or not _printable(str(error)):
        raise Broken(f"a message that is too long ({len(str(error))}) or of several lines: {error}"[:3_000]) from error


def _printable(text: str) -> bool:
    return "\n" not in text and "\r" not in text and "\x00" not in text


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


def clicks() -> Table:
    """A log that is right."""
    return next(found for index in range(99) if (found := make(0, index, keep=[]).tables.get("log")))


def largest(values: Any) -> float:
    """The largest number anywhere in settings, but for those that cost nothing."""
    from dataclasses import asdict, is_dataclass

    if is_dataclass(values) and not isinstance(values, type):
        values = asdict(values)
    if isinstance(values, dict):
        free = ("seed", "batch_size", "sparse_rows", "max_anchors", "patience", "checkpoint_every")
        return max((largest(v) for name, v in values.items() if name not in free), default=0)
    if isinstance(values, (list, tuple)):
        return max(map(largest, values), default=0)
    return abs(values) if isinstance(values, (int, float)) and not isinstance(values, bool) else 0
