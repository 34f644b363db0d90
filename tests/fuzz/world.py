"""Where inputs are run, and what must hold of every answer."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

import micgraph
from micgraph.schema import MicgraphError
from tests.fuzz import files
from tests.fuzz.inputs import Table, make

LONGEST = 2_600  # characters of a message that a person may still read
TINY = {"model": {"dim": 4, "history": 5}, "training": {"epochs": 1}}


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


def clicks() -> Table:
    """A log that is right."""
    return next(found for index in range(99) if (found := make(0, index, keep=[]).tables.get("log")))
