"""How training loops in processes of their own take turns. Only the standard library: rivals have other environments.

A contestant is a script that is called with a JSON object of settings. It prepares its data, hands what its loop goes
through to :class:`Turns`, and trains. ``Turns`` holds the loop until standard input says to go on, lets it take so many
steps, and writes how long they took, one JSON object a line.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any


class Stopped(Exception):
    """There are no more turns."""


class Turns:
    """A training loop's batches, or the numbers of its steps, held back until it is the loop's turn.

    Args:
        steps: steps of a turn.
        warm: so many of them, at its beginning, are not timed.
    """

    def __init__(self, steps: int, warm: int) -> None:
        self.steps, self.warm, self.done = steps, warm, 0
        self.began = (0.0, 0.0)
        self.facts: dict[str, float] = {}
        self.source: Iterable[Any] = ()
        self.answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what the contestant prints is no answer

    def ready(self, **facts: Any) -> None:
        """Say that training can begin, and what will be trained."""
        self._say(facts)

    def over(self, source: Iterable[Any]) -> Turns:
        """Go through these."""
        self.source = source
        return self

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        source = iter(self.source)
        while True:
            self._step_begins()
            try:
                one = next(source)
            except StopIteration:
                self.done -= 1
                return
            yield one

    def add(self, name: str, seconds: float) -> None:
        """Count these seconds under a name, if steps are timed now."""
        if (self.done - 1) % self.steps >= self.warm:
            self.facts[name] = self.facts.get(name, 0.0) + seconds

    def _step_begins(self) -> None:
        place = self.done % self.steps
        if not place:
            now = _clocks()
            if self.done:
                taken = {name: now[at] - self.began[at] for at, name in enumerate(("seconds", "processor"))}
                self._say({**taken, "steps": self.steps - self.warm, **self.facts})
            if sys.stdin.readline().strip() != "go":
                raise Stopped
        if place == self.warm:
            self.facts, self.began = {}, _clocks()
        self.done += 1

    def _say(self, what: dict[str, Any]) -> None:
        self.answers.write(json.dumps(what) + "\n")
        self.answers.flush()


def _clocks() -> tuple[float, float]:
    """Seconds by the clock, and of the processor in this process (not in workers that load data)."""
    return time.perf_counter(), time.process_time()


def settings() -> dict[str, Any]:
    """What the contestant was called with."""
    return dict(json.loads(sys.argv[1]))
