"""Many threads, one commit: what waits while a commit is under way goes into the next one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class _Waiting(Generic[T]):
    """What a thread wants committed, and what became of it."""

    work: T
    done: bool = False
    error: Exception | None = None


class GroupCommit(Generic[T]):
    """Calls ``commit`` for all that waits, in the thread of one of those who wait.

    A commit that must reach the disk takes milliseconds, however little it holds; so the more threads write, the more
    each commit holds, and no thread waits for more than two of them.

    Args:
        commit: makes a list of works durable, all or none; the same work may come again.
    """

    def __init__(self, commit: Callable[[list[T]], None]) -> None:
        self._commit = commit
        self._queue, self._turn = threading.Lock(), threading.Lock()
        self._waiting: list[_Waiting[T]] = []

    def __call__(self, work: T) -> None:
        """Return when ``work`` is durable.

        Raises:
            Exception: what ``commit`` raised; every thread of the group gets its own copy.
        """
        mine = _Waiting(work)
        with self._queue:
            self._waiting.append(mine)
        with self._turn:
            if not mine.done:
                self._lead(mine)
        if mine.error is not None:
            raise copy(mine.error) from mine.error

    def _lead(self, mine: _Waiting[T]) -> None:
        """Commit all that waits, ``mine`` among it."""
        with self._queue:
            group, self._waiting = self._waiting, []
        try:
            self._commit([waiting.work for waiting in group])
        except Exception as error:
            for waiting in group:
                waiting.error, waiting.done = error, True
        except BaseException:  # this thread is interrupted, the others are not: one of them commits theirs
            with self._queue:
                self._waiting = [waiting for waiting in group if waiting is not mine] + self._waiting
            raise
        else:
            for waiting in group:
                waiting.done = True
