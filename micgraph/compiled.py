"""Loops that numba compiles. Only modules of such loops import this, and they are imported when first needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the GIL; kept on disk where that can be written, else compiled again in every process."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)
