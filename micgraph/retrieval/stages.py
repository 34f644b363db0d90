"""How long each stage of a request takes, for whoever asks; otherwise no clock is read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar
from typing import Literal

StageName = Literal["tower", "search", "store", "fusion"]
STAGES: tuple[StageName, ...] = ("tower", "search", "store", "fusion")


@contextmanager
def stage_times() -> Iterator[dict[StageName, float]]:
    """Seconds of each stage, summed over the requests that this thread makes inside it, one after another.

    Stages exclude each other, as in MIC 2.9; what is left of a request is checking what was asked and making the frame:

    - ``tower``: vectors of the users who are asked about;
    - ``search``: T1, U2I's and U2U's searches for vectors;
    - ``store``: T2, waiting for reads of live clicks, and merging them with the graph's; 0 without a store. Clicks of
      similar users are read while U2I searches, so part of that read is in ``search``;
    - ``fusion``: T3, from what was found, I2I's neighbours among it, to lists.

    On a GPU the host's time is measured, which does not wait for what it has asked the device to do. Threads and tasks
    that run at once need one each.

    Example:
        >>> with mg.stage_times() as seconds:
        ...     rec.recommend("u42")
        >>> seconds["store"]
        0.0011

    Yields:
        The sums, which grow until the block ends.
    """
    clock = _Clock()
    token = _CLOCK.set(clock)
    try:
        yield clock.seconds
    finally:
        _CLOCK.reset(token)


class Stage(ContextDecorator):
    """A part of the code, or a function, whose time is that of a stage: not of the stage that it is called in."""

    def __init__(self, name: StageName) -> None:
        self._name = name

    def __enter__(self) -> None:
        clock = _CLOCK.get()
        if clock is not None:
            clock.begin(self._name)

    def __exit__(self, *_: object) -> None:
        clock = _CLOCK.get()
        if clock is not None:
            clock.end()


class _Clock:
    """Adds the time since the last change to the innermost stage that has begun."""

    def __init__(self) -> None:
        self.seconds: dict[StageName, float] = dict.fromkeys(STAGES, 0.0)
        self._begun: list[StageName] = []
        self._changed = 0.0

    def begin(self, name: StageName) -> None:
        self._add()
        self._begun.append(name)

    def end(self) -> None:
        self._add()
        self._begun.pop()

    def _add(self) -> None:
        now = time.perf_counter()
        if self._begun:
            self.seconds[self._begun[-1]] += now - self._changed
        self._changed = now


_CLOCK: ContextVar[_Clock | None] = ContextVar("clock of stages", default=None)
