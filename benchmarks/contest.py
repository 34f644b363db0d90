"""Training loops in processes of their own, seen from outside; turns.py is the inside."""

from __future__ import annotations

import json
import statistics
import subprocess
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from tqdm import tqdm

HERE = Path(__file__).resolve().parent
Answers = dict[str, list[dict[str, float]]]
"""What each has told of its turns, by name."""


class Failed(Exception):
    """A contestant has ended before its time; the message has its last words."""


class Contestant:
    """One that trains when it is told to; made, it is ready.

    Args:
        name: for tables.
        python: the interpreter.
        script: loop_{script}.py.
        given: settings, which are handed over as JSON.

    Attributes:
        facts: what it has said about itself.

    Raises:
        Failed: it cannot prepare.
    """

    def __init__(self, name: str, python: str, script: str, given: dict[str, Any]) -> None:
        self.name = name
        with ExitStack() as files:
            self.told = files.enter_context(TemporaryFile("w+", errors="replace"))
            place = files.enter_context(TemporaryDirectory())  # some leave folders where they run
            self.files = files.pop_all()
        command = [python, str(HERE / f"loop_{script}.py"), json.dumps(given)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.told, text=True, cwd=place)
        self.facts = self._answer()

    def turn(self) -> dict[str, float]:
        """Let it take its steps.

        Returns:
            ``seconds`` by the clock and of the ``processor``, ``steps``, and what else it tells.
        """
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._answer()

    def samples(self) -> dict[str, int]:
        """How many samples it has, and what their ids add up to."""
        return {name: self.facts[name] for name in ("samples", "targets", "histories")}

    def end(self) -> None:
        """No more turns."""
        self.process.communicate()
        self.files.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            return dict(json.loads(line))
        self.process.wait()
        self.told.seek(0)
        said = [line for line in self.told.read().splitlines() if line.strip()] or ["it said nothing"]
        raise Failed(f"{self.name}: {said[-1]}")


def compare(title: str, field: dict[str, Any], given: dict[str, Any], turns: int, steps: int, warm: int) -> Answers:
    """Let them train by turns.

    Args:
        field: name -> interpreter (None: it is left out), loop_*.py, settings of its own.
        given: settings of all.
        turns: that count.
        steps: of a turn that are timed, and ``warm`` before them that are not.

    Returns:
        What each has answered in every turn; it has none where it failed.
    """
    running = _started(field, given | {"steps": warm + steps, "warm": warm})
    answers: Answers = {one.name: [] for one in running}
    try:
        _enough(running[0].facts["samples"], given["batch"] * (turns + 1) * (warm + steps))
        for turn in tqdm(range(turns + 1), f"{title}: turns", leave=False):
            for one in running if turn % 2 else reversed(running):
                answer = one.turn()
                if turn:  # the first compiles, and fills memory
                    answers[one.name].append(answer)
    finally:
        for one in running:
            one.end()
    _table(title, running, answers, given["batch"])
    return answers


def _started(field: dict[str, Any], given: dict[str, Any]) -> list[Contestant]:
    """Those that could prepare the same samples; ours must."""
    running: list[Contestant] = []
    for name, (python, script, own) in tqdm(field.items(), "preparing", leave=False):
        if python is None:
            continue
        try:
            running.append(Contestant(name, python, script, given | own))
        except Failed as error:
            if script == "micgraph":
                raise
            tqdm.write(f"not compared with {error}")
    assert len({str(one.samples()) for one in running}) == 1, "not the same samples"
    return running


def _enough(samples: int, needed: int) -> None:
    if samples < needed:
        raise SystemExit(f"an epoch has {samples:,} samples, the turns need {needed:,}: fewer turns, steps or samples")


def _table(title: str, running: list[Contestant], answers: Answers, batch: int) -> None:
    columns = ("parameters", "scores", "ms a step", "of processor", "samples a s", "ours times")
    print(f"{title:<24}" + "".join(f"{name:>13}" for name in columns))
    for one in running:
        step = [1000 * answer["seconds"] / answer["steps"] for answer in answers[one.name]]
        busy = [1000 * answer["processor"] / answer["steps"] for answer in answers[one.name]]
        median = statistics.median(step)
        print(
            f"{one.name:<24}{one.facts['parameters']:>13,}{one.facts['scores']:>13,}{median:>13.1f}"
            f"{statistics.median(busy):>13.1f}{1000 * batch / median:>13,.0f}{ratio(answers, one.name):>13.2f}",
            flush=True,
        )
    share = overhead(answers["micgraph"])
    print(f"of our step {share:.3f} is overhead; {one.facts['samples']:,} samples an epoch", flush=True)


def ratio(answers: Answers, name: str) -> float:
    """How many times as many samples a second ours makes, median over the turns."""
    pairs = zip(answers["micgraph"], answers[name], strict=True)
    return statistics.median(theirs["seconds"] / ours["seconds"] for ours, theirs in pairs)


def speedup(answers: Answers, start: str) -> float | None:
    """:func:`ratio` to the fastest of those whose names start so; None where there are none."""
    found = [ratio(answers, name) for name in answers if name.startswith(start)]
    return round(min(found), 3) if found else None


def overhead(answers: list[dict[str, float]]) -> float:
    """The share of the steps' time in which nothing is computed, median over the turns."""
    return round(statistics.median(1 - answer["computing"] / answer["seconds"] for answer in answers), 3)
