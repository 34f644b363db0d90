"""Bars for long work: on stderr while somebody watches, gone when the work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm.auto import tqdm

SWITCH = "TQDM_DISABLE"
"""The variable of the environment that turns all bars off. It is tqdm's own, which reads it but once, when imported."""


def progress_bar(over: Iterable[Any] | None = None, *, desc: str, **options: Any) -> tqdm[Any]:
    """A bar that comes after a second of work and goes with its end.

    There is none where stderr is no terminal (notebooks show theirs), nor with ``TQDM_DISABLE=1`` in the environment.

    Args:
        over: what is iterated; None for a bar that is updated by hand.
        desc: what is done, the bar's label.
        options: those of tqdm, such as ``total``, ``unit`` and ``delay``.
    """
    from tqdm.auto import tqdm

    off = True if os.environ.get(SWITCH, "0") not in ("", "0") else None  # None asks tqdm to look at stderr
    return tqdm(over, desc=desc, **{"leave": False, "delay": 1, "disable": off, **options})
