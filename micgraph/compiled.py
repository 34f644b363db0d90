"""Loops that numba compiles. Only modules of such loops import this, and they are imported when first needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any], rounding: set[str] | bool = False) -> Callable[..., Any]:
    """Compile without the GIL; kept on disk where that can be written, else compiled again in every process.

    Args:
        function: what to compile.
        rounding: LLVM's flags of arithmetic that need not round, or order sums, as written; none by default.
    """
    try:
        return numba.njit(nogil=True, cache=True, fastmath=rounding)(function)
    except RuntimeError:
        return numba.njit(nogil=True, fastmath=rounding)(function)
