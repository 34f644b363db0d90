"""Loops are compiled where nothing can be kept on disk, too."""

from __future__ import annotations

import pytest

from micgraph import compiled


def test_the_kernel_works_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(**options: bool) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: ("compiled", function)

    monkeypatch.setattr(compiled.numba, "njit", njit)
    assert compiled.compiled(len) == ("compiled", len)
