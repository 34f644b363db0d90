"""Warnings that would come with every request, told once in a while."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

EVERY = 60.0
"""Seconds."""


class Seldom:
    """Passes a warning on at most once in so many seconds, and then tells how many it held back. For many threads.

    Args:
        logger: who gets them.
        every: seconds between two warnings.
        clock: seconds from any moment on, never less than before.
    """

    def __init__(
        self, logger: logging.Logger, every: float = EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger, self._every, self._clock = logger, every, clock
        self._lock = threading.Lock()
        self._last: float | None = None
        self._held = 0

    def warn(self, text: str) -> None:
        """Pass ``text`` on, or hold it back."""
        with self._lock:
            now = self._clock()
            if self._last is not None and now - self._last < self._every:
                self._held += 1
                return
            held, self._held, self._last = self._held, 0, now
        self._logger.warning("%s%s", text, f" ({held:,} more such warnings were held back)" if held else "")
