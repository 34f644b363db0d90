"""Many threads, one commit: what waits while a commit is under way goes into the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

PAUSE = 0.002
"""Seconds; a commit that reaches the disk takes about as many, or ten times more."""


@dataclass(eq=False)
class _Waiting(Generic[T]):
    """What a thread wants committed, and what became of it."""

    work: T
    done: bool = False
    error: Exception | None = None


class GroupCommit(Generic[T]):
    """Calls ``commit`` for all that waits, in the thread of one of those who wait.

    A commit that must reach the disk takes milliseconds, however little it holds; so the more threads write, the more
    each commit holds, and no thread waits for more than two of them. Threads that write one bulk after the other would
    take turns, half of them in each commit; so a commit waits a moment for those who were there the last time.

    Args:
        commit: makes a list of works durable, all or none; the same work may come again.
        pause: seconds that a commit waits at most, and only where several threads wrote the last time.
    """

    def __init__(self, commit: Callable[[list[T]], None], pause: float = PAUSE) -> None:
        self._commit, self._pause = commit, pause
        self._changed, self._busy, self._writers = threading.Condition(), False, 1
        self._waiting: list[_Waiting[T]] = []

    def __call__(self, work: T) -> None:
        """Return when ``work`` is durable.

        Raises:
            Exception: what ``commit`` raised; every thread of the group gets its own copy.
        """
        mine = _Waiting(work)
        with self._changed:
            self._waiting.append(mine)
            self._changed.notify_all()
            self._changed.wait_for(lambda: mine.done or not self._busy)
            leads = not mine.done  # nobody commits: this thread does, for all that wait
            self._busy = self._busy or leads
        if leads:
            self._lead(mine)
        if mine.error is not None:
            raise copy(mine.error) from mine.error

    def _lead(self, mine: _Waiting[T]) -> None:
        """Commit all that waits, ``mine`` among it, and tell everybody."""
        group: list[_Waiting[T]] = []
        error, done = None, False
        try:
            group = self._gather()
            self._commit([waiting.work for waiting in group])
            done = True
        except Exception as caught:
            error, done = caught, True
        finally:
            with self._changed:
                self._busy, self._writers = False, len(group) + len(self._waiting)
                for waiting in group:
                    waiting.error, waiting.done = error, done
                if not done:  # this thread is interrupted, the others are not: one of them commits theirs
                    self._waiting = [waiting for waiting in group if waiting is not mine] + self._waiting
                self._changed.notify_all()

    def _gather(self) -> list[_Waiting[T]]:
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) >= self._writers, self._pause)
            group, self._waiting = self._waiting, []
            return group
